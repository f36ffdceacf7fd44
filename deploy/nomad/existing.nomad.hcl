# A volume that Orlop has already on the client NAME, by its id (`orlop get -t volume -n notes -o json` shows
# it): `nomad volume register deploy/nomad/existing.nomad.hcl`.

id          = "notes"
name        = "notes"
type        = "csi"
plugin_id   = "orlop-NAME"
external_id = "019a9d2e-5f1a-7c07-9c0e-3d0a4f2f9f11"

capability {
  access_mode     = "single-node-writer"
  attachment_mode = "file-system"
}
