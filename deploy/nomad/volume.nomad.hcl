# A volume on the client NAME: `nomad volume create deploy/nomad/volume.nomad.hcl`.

id        = "notes"
name      = "notes"
type      = "csi"
plugin_id = "orlop-NAME"

capacity_min = "1GiB"
capacity_max = "1GiB"

capability {
  access_mode     = "single-node-writer"
  attachment_mode = "file-system"
}

parameters {
  type = "persistent"
}
