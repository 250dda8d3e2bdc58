// What a monitoring system may ask for: figures of all volumes in Prometheus' text format
// (https://prometheus.io/docs/instrumenting/exposition_formats/, version 0.0.4).
#pragma once

#include <string>

namespace rw {

class Volumes;

inline constexpr const char* kMetricsContentType = "text/plain; version=0.0.4; charset=utf-8";

// Costs a Volumes::Status per volume. Thread-safe. A volume that goes meanwhile is left out.
std::string MetricsText(Volumes& volumes);

}  // namespace rw
