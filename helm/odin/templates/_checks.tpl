{{/* What values.schema.json cannot say: combinations that would start and then fail. Rendered by deployment.yaml. */}}

{{- define "odin.checks" -}}
{{- $v := .Values -}}
{{- if and $v.autoscaling.enabled $v.keda.enabled -}}
{{- fail "autoscaling.enabled and keda.enabled are both set: KEDA makes an HPA of its own, and two would fight over the replicas" -}}
{{- end -}}
{{- $isScaled := or $v.autoscaling.enabled $v.keda.enabled -}}
{{- if $isScaled -}}
{{- $scaler := ternary $v.autoscaling $v.keda $v.autoscaling.enabled -}}
{{- if lt ($scaler.maxReplicas | int) ($scaler.minReplicas | int) -}}
{{- fail "maxReplicas is less than minReplicas" -}}
{{- end -}}
{{- if and $scaler.cpuPercent (not (dig "requests" "cpu" "" $v.resources)) -}}
{{- fail "cpuPercent is a share of resources.requests.cpu, which is not set" -}}
{{- end -}}
{{- end -}}
{{- if and $v.keda.enabled (not $v.keda.prometheus.url) -}}
{{- fail "keda.enabled needs keda.prometheus.url" -}}
{{- end -}}
{{- if and $v.httpRoute.enabled (not $v.httpRoute.parentRefs) -}}
{{- fail "httpRoute.enabled needs httpRoute.parentRefs: the Gateway that it belongs to" -}}
{{- end -}}
{{- if and $v.ingress.enabled (not $v.ingress.hosts) -}}
{{- fail "ingress.enabled needs ingress.hosts" -}}
{{- end -}}
{{- if and $v.secret.existing $v.secret.env -}}
{{- fail "secret.existing and secret.env are both set: keep one of them" -}}
{{- end -}}
{{- if and $v.simulator.enabled (not $v.devNats.enabled) (not $v.simulator.inProduction) -}}
{{- fail "simulator.enabled publishes invented prices into the stream at config.nats.url: set simulator.inProduction if that is what you want" -}}
{{- end -}}
{{- if and $v.devNats.enabled (gt (dig "stream" "replicas" 1 $v.config | int) 1) -}}
{{- fail "devNats is one server: config.stream.replicas must be 1" -}}
{{- end -}}
{{- range $entry := concat $v.extraEnv $v.canary.extraEnv -}}
{{- if has $entry.name (list "ODIN_DRAIN_PAUSE" "ODIN_DRAIN_WINDOW" "ODIN_LISTEN" "ODIN_ADMIN_LISTEN" "ODIN_CONFIG") -}}
{{- fail (printf "extraEnv: %s has to be set in config, for the chart computes with it" $entry.name) -}}
{{- end -}}
{{- end -}}
{{- range $entry := $v.extraVolumeMounts -}}
{{- if hasPrefix "/etc/odin/" (printf "%s/" $entry.mountPath) -}}
{{- fail "extraVolumeMounts: /etc/odin is a read-only volume, nothing can be mounted there or below" -}}
{{- end -}}
{{- end -}}
{{- end }}

{{/* The same of one configuration. root, track, config */}}
{{- define "odin.checks.config" -}}
{{- $v := .root.Values -}}
{{- $config := .config -}}
{{- /* ConfigMaps are read by more people than Secrets, and land in backups and in `helm get values`. */ -}}
{{- range $path := list "admin.token" "auth.hs256_secret" "nats.password" "nats.token" "nats.nkey_seed" -}}
{{- $at := splitList "." $path -}}
{{- if dig (index $at 0) (index $at 1) "" $config -}}
{{- fail (printf "config.%s would stand in a ConfigMap: give ODIN_%s by secret.existing or secret.env" $path ($path | replace "." "_" | upper)) -}}
{{- end -}}
{{- end -}}
{{- $urls := dig "nats" "url" "" $config -}}
{{- if regexMatch `://[^/,]*@` (kindIs "slice" $urls | ternary (join "," $urls) $urls) -}}
{{- fail "config.nats.url has a user or a token in it: give ODIN_NATS_USER and ODIN_NATS_PASSWORD, or ODIN_NATS_TOKEN, by secret" -}}
{{- end -}}
{{- if regexMatch `^(127\.|\[::1\]|localhost)` (dig "admin_listen" "127.0.0.1:9090" $config) -}}
{{- fail "config.admin_listen is an address that neither probes nor Prometheus reach: use 0.0.0.0:9090 or [::]:9090" -}}
{{- end -}}
{{- if and (dig "http" "proxy_protocol" false $config) (or $v.ingress.enabled $v.httpRoute.enabled) -}}
{{- fail "config.http.proxy_protocol: an Ingress or an HTTPRoute speaks HTTP to gateways and sends no PROXY header" -}}
{{- end -}}
{{- if and (dig "http" "proxy_protocol" false $config) (not (dig "http" "trusted_proxies" list $config)) -}}
{{- fail "config.http.proxy_protocol counts only for config.http.trusted_proxies, which is empty" -}}
{{- end -}}
{{- $ready := include "odin.minReadySeconds" (dict "root" .root "config" $config) | int -}}
{{- if le ($v.progressDeadlineSeconds | int) $ready -}}
{{- fail (printf "progressDeadlineSeconds must be more than minReadySeconds, which is %d" $ready) -}}
{{- end -}}
{{- /* A gateway takes no new connections above 90 % of its memory limit, so limits.connections has to fit below that. */ -}}
{{- $resources := include "odin.resources" . | fromYaml -}}
{{- with dig "limits" "memory" "" $resources -}}
{{- $has := include "odin.bytes" (dict "name" "resources.limits.memory" "value" .) | float64 | mulf 0.9 | int64 -}}
{{- $ring := include "odin.bytes" (dict "name" "config.feeds.ring_total_bytes" "value" (dig "feeds" "ring_total_bytes" "256MiB" $config)) | int64 -}}
{{- $queue := include "odin.bytes" (dict "name" "config.feeds.shard_queue_bytes" "value" (dig "feeds" "shard_queue_bytes" "64MiB" $config)) | int64 -}}
{{- $shards := dig "shards" "auto" $config -}}
{{- if eq ($shards | toString) "auto" -}}
{{- $shards = dig "limits" "cpu" "1" $resources | include "odin.cores" -}}
{{- end -}}
{{- /* 1 KiB for a connection, 6 KiB with TLS (docs/performance.md), and 64 MiB for the process. */ -}}
{{- $each := ternary 6144 1024 (not (not (dig "tls" "cert_file" "" $config))) -}}
{{- $needs := add 67108864 $ring (mul $queue ($shards | int)) (mul $each (dig "limits" "connections" 19000 $config | int)) -}}
{{- if lt $has $needs -}}
{{- fail (printf "resources.limits.memory: 90 %% of it is %d MiB, but limits.connections, ring_total_bytes and shard_queue_bytes of %d shards may take %d MiB: raise it, or lower those" (div $has 1048576) ($shards | int) (div $needs 1048576)) -}}
{{- end -}}
{{- end -}}
{{- end }}
