# A job that uses the volume `notes`, on whatever client it is: `nomad job run deploy/nomad/writer.nomad.hcl`.

job "writer" {
  group "writer" {
    volume "notes" {
      type            = "csi"
      source          = "notes"
      access_mode     = "single-node-writer"
      attachment_mode = "file-system"
    }

    task "writer" {
      driver = "docker"

      config {
        image   = "busybox:1.36"
        command = "sh"
        args    = ["-c", "while :; do date >>/data/log; sleep 5; done"]
      }

      volume_mount {
        volume      = "notes"
        destination = "/data"
      }
    }
  }
}
