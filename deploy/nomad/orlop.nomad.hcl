# Orlop as a CSI plugin on one client: docs/nomad.md.
#
#   nomad job run -var node=NAME deploy/nomad/orlop.nomad.hcl
#
# Nomad asks any instance of a plugin to make a volume, and here only the one on the volume's node can.
# So each client is a plugin of its own, `orlop-NAME`.

variable "node" {
  type        = string
  description = "The name of the client."
}

variable "image" {
  type    = string
  default = "ghcr.io/orlop/orlop:0.1.0"
}

job "orlop" {
  id   = "orlop-${var.node}"
  name = "orlop-${var.node}"
  type = "system"

  constraint {
    attribute = "${node.unique.name}"
    value     = var.node
  }

  group "orlop" {
    task "orlop" {
      driver = "docker"

      config {
        image = var.image
        args = [
          "serve",
          "--csi-endpoint=unix:///csi/csi.sock",
          "--node-id=${node.unique.name}",
          # Where Nomad wants volumes, as it is seen in the container.
          "--kubelet-root=/local/csi",
          "--state-dir=/var/lib/orlop",
          "--run-dir=/run/orlop",
        ]

        # Mounts, loop devices, and the mount tables of all processes of the client, to know who uses a
        # volume: deploy/kubernetes/base/node.yaml has the reasons one by one.
        privileged      = true
        pid_mode        = "host"
        readonly_rootfs = true

        # What is mounted below these two is seen by the client, and is still there when the container is
        # gone: filesystems of pools, and volumes.
        mount {
          type   = "bind"
          source = "/var/lib/orlop"
          target = "/var/lib/orlop"
          bind_options {
            propagation = "rshared"
          }
        }

        mount {
          type   = "bind"
          source = "/run/orlop"
          target = "/run/orlop"
          bind_options {
            propagation = "rshared"
          }
        }

        # Pools in other directories and in image files, and disks mounted there.
        mount {
          type   = "bind"
          source = "/var/lib/orlop-pools"
          target = "/var/lib/orlop-pools"
          bind_options {
            propagation = "rslave"
          }
        }

        mount {
          type   = "bind"
          source = "/dev"
          target = "/dev"
        }
      }

      csi_plugin {
        id                     = "orlop-${var.node}"
        type                   = "monolith"
        mount_dir              = "/csi"
        stage_publish_base_dir = "/local/csi"
        # Recovery after a power loss takes as long as its filesystem checks take.
        health_timeout = "30m"
      }

      # What was begun is brought to its end; the client's max_kill_timeout has to allow it.
      kill_timeout = "90s"

      resources {
        cpu    = 100
        memory = 128
        # A repair of a large filesystem takes what it takes.
        memory_max = 2048
      }
    }
  }
}
