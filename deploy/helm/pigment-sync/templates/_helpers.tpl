{{- define "pigment-sync.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 52 | trimSuffix "-" -}}
{{- end -}}

{{/* A CronJob's Pods add to the name: it must stay below 52 characters. */}}
{{- define "pigment-sync.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- else if contains (include "pigment-sync.name" .) .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "pigment-sync.name" .) | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* A name of at most 52 characters: that of the workspace where it fits and is one, else its start and a checksum. */}}
{{- define "pigment-sync.fanOutName" -}}
{{- $release := include "pigment-sync.fullname" .root -}}
{{- $subject := ternary (first .names) (printf "shard-%d" .index) (eq (int .root.Values.fanOut.shardSize) 1) -}}
{{- $name := printf "%s-%s" $release $subject -}}
{{- if and (le (len $name) 52) (regexMatch "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$" $name) -}}
{{- $name -}}
{{- else -}}
{{- $words := regexReplaceAll "[^a-z0-9-]" (lower $subject) "-" | trunc 22 | trimSuffix "-" -}}
{{- $start := regexReplaceAll "[^a-z0-9-]" (lower $release) "-" | trunc 20 | trimSuffix "-" -}}
{{- printf "%s-%s-%s" $start $words (sha256sum $name | trunc 8) -}}
{{- end -}}
{{- end -}}

{{/* Each CronJob has a minute of its own, which stays when others come and go: they do not all begin at once. */}}
{{- define "pigment-sync.fanOutSchedule" -}}
{{- $every := int .root.Values.fanOut.everyMinutes -}}
{{- if .root.Values.fanOut.schedule -}}
{{- .root.Values.fanOut.schedule -}}
{{- else -}}
{{- printf "%d-59/%d * * * *" (mod (adler32sum .name | int64) $every) $every -}}
{{- end -}}
{{- end -}}

{{- define "pigment-sync.selector" -}}
app.kubernetes.io/name: {{ include "pigment-sync.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{- define "pigment-sync.labels" -}}
{{ include "pigment-sync.selector" . }}
{{ include "pigment-sync.versions" . }}
{{- end -}}

{{- define "pigment-sync.versions" -}}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "pigment-sync.fanOutApp" -}}
{{ include "pigment-sync.name" . }}-fan-out
{{- end -}}

{{/* Another name than the daemon's: its Service must send no request to these Pods, and its disruption budget must not
count them. A Deployment's own selector can't be changed. */}}
{{- define "pigment-sync.fanOutLabels" -}}
app.kubernetes.io/name: {{ include "pigment-sync.fanOutApp" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/component: fan-out
{{ include "pigment-sync.versions" . }}
{{- end -}}

{{- define "pigment-sync.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "pigment-sync.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "pigment-sync.claim" -}}
{{- default (include "pigment-sync.fullname" .) .Values.state.persistence.existingClaim -}}
{{- end -}}

{{/* What the agent would refuse at its start is refused here, before anything is replaced by it. */}}
{{- define "pigment-sync.checked" -}}
{{- $config := .Values.config -}}
{{- $server := default dict $config.server -}}
{{- $state := default dict $config.state -}}
{{- if not $config.connectors -}}
{{- fail "config.connectors: name at least one identity provider, as config.example.yaml does" -}}
{{- end -}}
{{- if not $config.workspaces -}}
{{- fail "config.workspaces: name at least one Pigment workspace, as config.example.yaml does" -}}
{{- end -}}
{{- if and (eq .Values.mode "daemon") (not $server.tokens) (not $server.oidc) -}}
{{- fail "config.server: set tokens or oidc, for the page is reachable in the cluster; `pigment-sync hash-token` makes one" -}}
{{- end -}}
{{- if and (not .Values.state.persistence.enabled) (not $state.url) -}}
{{- fail "config.state.url: without state.persistence the state must be in PostgreSQL; else links and journal are lost with the Pod" -}}
{{- end -}}
{{- if and (not .Values.state.persistence.enabled) (kindIs "string" $state.url) (hasPrefix "sqlite" (toString $state.url)) -}}
{{- fail "config.state.url: without state.persistence the state must be in PostgreSQL; a file would be lost with its Pod, and each Pod would have its own" -}}
{{- end -}}
{{- range .Values.env -}}
{{- if has (upper .name) (list "PIGMENT_SYNC__SERVER__PORT" "PIGMENT_SYNC__SERVER__HOST") -}}
{{- fail (printf "env: %s is set where the chart can't see it; set it in config instead" .name) -}}
{{- end -}}
{{- end -}}
{{- if and (eq .Values.mode "daemon") (gt (int .Values.replicas) 1) .Values.state.persistence.enabled -}}
{{- fail "replicas: more than one daemon needs PostgreSQL in config.state.url, and state.persistence.enabled: false" -}}
{{- end -}}
{{- if .Values.fanOut.enabled -}}
{{- if .Values.state.persistence.enabled -}}
{{- fail "fanOut: many Pods need PostgreSQL in config.state.url, and state.persistence.enabled: false" -}}
{{- end -}}
{{- if eq .Values.mode "daemon" -}}
{{- $defaults := default dict $config.defaults -}}
{{- range $name, $workspace := $config.workspaces -}}
{{- if or $workspace.schedule $defaults.schedule -}}
{{- fail (printf "fanOut: the daemon would run %s too; take schedule out of config.workspaces and config.defaults" $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The configuration, with the address that probes and Services reach. */}}
{{- define "pigment-sync.config" -}}
{{- $config := deepCopy .Values.config -}}
{{- if eq .Values.mode "daemon" -}}
{{- $_ := set $config "server" (mergeOverwrite (dict "host" "0.0.0.0") (default dict $config.server)) -}}
{{- end -}}
{{- toYaml $config -}}
{{- end -}}

{{- define "pigment-sync.port" -}}
{{- $server := default dict .Values.config.server -}}
{{- default 8080 $server.port | int -}}
{{- end -}}

{{- define "pigment-sync.image" -}}
{{- $tag := default .Chart.AppVersion .Values.image.tag -}}
{{- if .Values.image.digest -}}
{{- printf "%s:%s@%s" .Values.image.repository $tag .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository $tag -}}
{{- end -}}
{{- end -}}

{{/* What the Pods of both modes have in common. */}}
{{- define "pigment-sync.pod" -}}
serviceAccountName: {{ include "pigment-sync.serviceAccount" . | quote }}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . | quote }}
  {{- end }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
# A stop takes up to 30 seconds: the changes that are on their way are answered first.
terminationGracePeriodSeconds: 40
securityContext:
  runAsNonRoot: true
  {{- with .Values.runAsUser }}
  runAsUser: {{ int64 . }}
  {{- end }}
  {{- with .Values.runAsGroup }}
  runAsGroup: {{ int64 . }}
  {{- end }}
  {{- with .Values.fsGroup }}
  fsGroup: {{ int64 . }}
  fsGroupChangePolicy: OnRootMismatch
  {{- end }}
  seccompProfile: {type: RuntimeDefault}
{{- with .Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- else }}
{{- if and (eq .Values.mode "daemon") (gt (int .Values.replicas) 1) }}
# A node that is lost must not take all replicas along.
affinity:
  podAntiAffinity:
    preferredDuringSchedulingIgnoredDuringExecution:
      - weight: 100
        podAffinityTerm:
          topologyKey: kubernetes.io/hostname
          labelSelector:
            matchLabels: {{- include "pigment-sync.selector" . | nindent 14 }}
{{- end }}
{{- end }}
{{- with .Values.topologySpreadConstraints }}
topologySpreadConstraints: {{- toYaml . | nindent 2 }}
{{- end }}
volumes:
  # Folders, not files: what changes is seen without a restart.
  - name: config
    configMap: {name: {{ include "pigment-sync.fullname" . | quote }}}
  - name: tmp
    emptyDir: {}
  {{- if .Values.state.persistence.enabled }}
  - name: state
    persistentVolumeClaim: {claimName: {{ include "pigment-sync.claim" . | quote }}}
  {{- end }}
  {{- with .Values.secrets.existingSecret }}
  - name: secrets
    secret: {secretName: {{ . | quote }}, defaultMode: 288}
  {{- end }}
  {{- with .Values.volumes }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{- define "pigment-sync.container" -}}
name: pigment-sync
image: {{ include "pigment-sync.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- with .Values.env }}
env: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with default .Values.resources .fanOutResources }}
resources: {{- toYaml . | nindent 2 }}
{{- end }}
volumeMounts:
  - {name: config, mountPath: /etc/pigment-sync, readOnly: true}
  - {name: tmp, mountPath: /tmp}
  {{- if .Values.state.persistence.enabled }}
  - {name: state, mountPath: /var/lib/pigment-sync}
  {{- end }}
  {{- if .Values.secrets.existingSecret }}
  - {name: secrets, mountPath: {{ .Values.secrets.mountPath | quote }}, readOnly: true}
  {{- end }}
  {{- with .Values.volumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}
