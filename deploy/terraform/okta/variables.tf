variable "org_url" {
  description = "The org's root, as in `org_url` of the connector: https://acme.okta.com"
  type        = string

  validation {
    condition     = can(regex("^https://[^/]+[^/]$", var.org_url))
    error_message = "Write the org's root without a slash at its end, such as https://acme.okta.com."
  }
}

variable "app_ids" {
  description = "The ids of the applications that decide who belongs in Pigment, as in `app` of the sources."
  type        = list(string)

  validation {
    condition     = length(var.app_ids) > 0
    error_message = "Name at least one application."
  }
}

variable "group_ids" {
  description = "The ids of all groups that are assigned to these applications. A group that is missing here ends each read."
  type        = list(string)

  validation {
    condition     = length(var.group_ids) > 0
    error_message = "Name at least one group."
  }
}

variable "public_jwk" {
  description = "The public key, as `pigment-sync okta-key` prints it. The private key must not come near Terraform or its state."
  type        = string

  validation {
    condition     = can(jsondecode(var.public_jwk).kid) && !can(jsondecode(var.public_jwk).d)
    error_message = "Paste the public JWK with its kid, and without any private part."
  }
}

variable "label" {
  description = "The name of the service app, its role and its resource set."
  type        = string
  default     = "pigment-sync"
}

variable "require_dpop" {
  description = "Whether the app requires DPoP. The connector's `dpop` must be the same."
  type        = bool
  default     = true
}

variable "all_users" {
  description = "Whether the role sees all users, so that leavers can be looked up. Otherwise it sees those of the groups."
  type        = bool
  default     = true
}
