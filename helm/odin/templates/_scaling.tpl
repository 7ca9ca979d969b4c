{{/* How fast the number of gateways may change, for HPA and KEDA alike. */}}
{{- define "odin.scalingBehavior" -}}
{{- $v := .Values.scaling -}}
# Up at once: who comes now finds room, and nobody has to move.
scaleUp:
  stabilizationWindowSeconds: 0
  selectPolicy: Max
  policies:
    - type: Percent
      value: {{ $v.up.percent }}
      periodSeconds: {{ $v.up.periodSeconds }}
    - type: Pods
      value: {{ $v.up.pods }}
      periodSeconds: {{ $v.up.periodSeconds }}
# Down slowly: each gateway that goes sends all of its clients to the others, and those who come back to a growing crowd cost
# handshakes, tokens and snapshots. A wave of users that comes back within the window finds its gateways still there.
scaleDown:
  stabilizationWindowSeconds: {{ $v.down.stabilizationSeconds }}
  selectPolicy: Min
  policies:
    - type: Pods
      value: {{ $v.down.pods }}
      periodSeconds: {{ $v.down.periodSeconds }}
{{- end }}

{{/* Connections of one gateway that are aimed at. scaler: values.autoscaling or values.keda */}}
{{- define "odin.targetConnections" -}}
{{- $limit := dig "limits" "connections" 19000 .root.Values.config | int -}}
{{- max 1 (div (mul $limit (.scaler.connectionsPercent | int)) 100) -}}
{{- end }}
