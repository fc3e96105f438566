variable "display_name" {
  description = "The name of the app registration."
  type        = string
  default     = "pigment-sync"
}

variable "certificate" {
  description = "The certificate as PEM, such as file(\"entra-cert.pem\"). Its private key must not come near Terraform or its state."
  type        = string
  default     = null

  validation {
    condition     = var.certificate == null ? true : strcontains(var.certificate, "BEGIN CERTIFICATE") && !strcontains(var.certificate, "PRIVATE KEY")
    error_message = "Give the certificate alone, as PEM, without its private key."
  }
}

variable "certificate_end_date" {
  description = "The certificate's own end, as RFC 3339: 2027-11-27T00:00:00Z."
  type        = string
  default     = null
}

variable "hidden_membership" {
  description = "Whether an assigned group hides its members: grants Member.Read.Hidden too."
  type        = bool
  default     = false
}
