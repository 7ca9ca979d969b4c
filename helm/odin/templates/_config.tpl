{{/* What a gateway is configured with: values.config, a canary's changes to it, and what the chart itself knows. */}}

{{/* Where Secrets with files are mounted. */}}
{{- define "odin.mounts" -}}/etc/odin/secrets{{- end }}

{{/* The effective configuration as YAML. root, track */}}
{{- define "odin.config" -}}
{{- $root := .root -}}
{{- $values := $root.Values -}}
{{- $config := deepCopy $values.config -}}
{{- if eq .track "canary" -}}
{{- $config = mergeOverwrite $config (deepCopy $values.canary.config) -}}
{{- end -}}
{{- $mounts := include "odin.mounts" $root -}}

{{- if not (dig "nats" "url" "" $config) -}}
{{- $_ := include "odin.config.set" (dict "config" $config "table" "nats" "key" "url" "value" (include "odin.natsUrl" $root)) -}}
{{- end -}}
{{- with $values.nats.credsSecret.name -}}
{{- $file := printf "%s/nats-creds/%s" $mounts $values.nats.credsSecret.key -}}
{{- $_ := include "odin.config.set" (dict "config" $config "table" "nats" "key" "creds_file" "value" $file "by" "nats.credsSecret") -}}
{{- end -}}
{{- if $values.nats.tlsSecret.name -}}
{{- range $option, $key := dict "tls_ca_file" $values.nats.tlsSecret.ca "tls_cert_file" $values.nats.tlsSecret.cert "tls_key_file" $values.nats.tlsSecret.key -}}
{{- with $key -}}
{{- $file := printf "%s/nats-tls/%s" $mounts . -}}
{{- $_ := include "odin.config.set" (dict "config" $config "table" "nats" "key" $option "value" $file "by" "nats.tlsSecret") -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if $values.tls.secret -}}
{{- range $option, $key := dict "cert_file" "tls.crt" "key_file" "tls.key" -}}
{{- $file := printf "%s/tls/%s" $mounts $key -}}
{{- $_ := include "odin.config.set" (dict "config" $config "table" "tls" "key" $option "value" $file "by" "tls.secret") -}}
{{- end -}}
{{- end -}}
{{- with $values.auth.publicKeySecret.name -}}
{{- $file := printf "%s/auth-key/%s" $mounts $values.auth.publicKeySecret.key -}}
{{- $_ := include "odin.config.set" (dict "config" $config "table" "auth" "key" "public_key_file" "value" $file "by" "auth.publicKeySecret") -}}
{{- end -}}
{{- with $values.auth.apiKeysSecret.name -}}
{{- $file := printf "%s/auth-api-keys/%s" $mounts $values.auth.apiKeysSecret.key -}}
{{- $_ := include "odin.config.set" (dict "config" $config "table" "auth" "key" "api_keys_file" "value" $file "by" "auth.apiKeysSecret") -}}
{{- end -}}

{{- if not (hasKey $config "shards") -}}
{{- /* "auto" counts the cores that the pod may use; without a limit of CPU those are the node's, and a pod that asked for
       one core of 64 would have 64 threads. */ -}}
{{- $resources := include "odin.resources" . | fromYaml -}}
{{- if not (dig "limits" "cpu" "" $resources) -}}
{{- with dig "requests" "cpu" "" $resources -}}
{{- $_ := set $config "shards" (include "odin.cores" . | int) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- toYaml $config -}}
{{- end }}

{{/* Sets table.key in config, in place. Where by names a value of the chart, the configuration must not say it too. */}}
{{- define "odin.config.set" -}}
{{- $table := get .config .table | default dict -}}
{{- if and .by (get $table .key) -}}
{{- fail (printf "config.%s.%s and %s are both set: keep one of them" .table .key .by) -}}
{{- end -}}
{{- $_ := set .config .table (set $table .key .value) -}}
{{- end }}

{{/* Where NATS is when config.nats.url does not say it. */}}
{{- define "odin.natsUrl" -}}
{{- if .Values.devNats.enabled -}}
nats://{{ include "odin.fullname" . }}-dev-nats:4222
{{- else -}}
{{- /* the service of the release "nats" of the NATS chart, in the same namespace */ -}}
nats://nats:4222
{{- end -}}
{{- end }}

{{/* Resources of a track's gateways, as YAML. root, track */}}
{{- define "odin.resources" -}}
{{- if eq .track "canary" -}}
{{- toYaml (.root.Values.canary.resources | default .root.Values.resources) -}}
{{- else -}}
{{- toYaml .root.Values.resources -}}
{{- end -}}
{{- end }}

{{/* The file itself. config */}}
{{- define "odin.configFile" -}}
# Made by Helm. `ws-gateway check-config` says what is wrong in it; every option: docs/operations/configuration.md.
{{- include "odin.toml" . }}
{{- end }}

{{/* Seconds from SIGTERM to the last connection: drain.pause, drain.window, and 5 s that a gateway gives to those who do not
     take their goodbye. config */}}
{{- define "odin.drainSeconds" -}}
{{- $pause := include "odin.seconds" (dict "name" "config.drain.pause" "value" (dig "drain" "pause" "2s" .)) | int -}}
{{- $window := include "odin.seconds" (dict "name" "config.drain.window" "value" (dig "drain" "window" "30s" .)) | int -}}
{{- add $pause $window 5 -}}
{{- end }}

{{/* The grace period of a pod: preStop and the drain, which both count, and 5 s to end. Below the first two, Kubernetes
     would kill connections that are about to be told where to go. root, config */}}
{{- define "odin.graceSeconds" -}}
{{- $least := add (.root.Values.preStopSleepSeconds | int) (include "odin.drainSeconds" .config | int) -}}
{{- $given := .root.Values.terminationGracePeriodSeconds -}}
{{- if kindIs "invalid" $given -}}
{{- add $least 5 -}}
{{- else if lt ($given | int) ($least | int) -}}
{{- fail (printf "terminationGracePeriodSeconds is %d, but preStop, drain.pause, drain.window and 5 s take %d" ($given | int) ($least | int)) -}}
{{- else -}}
{{- $given | int -}}
{{- end -}}
{{- end }}

{{/* The time between two steps of a rollout. By default the next gateway leaves only when the clients of the one before
     have a new home: Kubernetes does not wait for pods that are stopping. root, config */}}
{{- define "odin.minReadySeconds" -}}
{{- $given := .root.Values.minReadySeconds -}}
{{- if kindIs "invalid" $given -}}{{ include "odin.drainSeconds" .config }}{{- else -}}{{ $given | int }}{{- end -}}
{{- end }}

{{/* "true" if new connections are divided between stable and canary by weight: then each has a Service of its own. */}}
{{- define "odin.isWeighted" -}}
{{- if and .Values.canary.enabled (or .Values.httpRoute.enabled .Values.ingress.enabled) -}}true{{- end -}}
{{- end }}
