// What a monitoring system may ask for: figures of all volumes in Prometheus' text format
// (https://prometheus.io/docs/instrumenting/exposition_formats/, version 0.0.4).
#pragma once

#include <cstdint>
#include <string>

namespace rw {

class Volumes;

inline constexpr const char* kMetricsContentType = "text/plain; version=0.0.4; charset=utf-8";

// Costs a Volumes::Status per volume. Thread-safe. A volume that goes meanwhile is left out.
std::string MetricsText(Volumes& volumes);

// How many daemons of this one's supervisor ended before it.
uint64_t DaemonRestarts();

}  // namespace rw
