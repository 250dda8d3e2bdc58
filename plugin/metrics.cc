#include "plugin/metrics.h"

#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "fs/figures.h"
#include "metadata/refused.h"
#include "plugin/supervisor.h"
#include "plugin/volumes.h"

namespace rw {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;
using Labels = std::vector<ClientMetric::Label>;

double Seconds(Instant at) { return static_cast<double>(at.ns) / 1e9; }
double Seconds(const TimeSum& sum) { return static_cast<double>(sum.nanoseconds) / 1e9; }

// Families in the order in which they are first named. The library's own counters take locks, so
// only its text format is used.
class Families {
 public:
  void Gauge(const char* name, const char* help, double value, Labels labels = {}) {
    Metric(name, help, MetricType::Gauge, std::move(labels)).gauge.value = value;
  }
  void Counter(const char* name, const char* help, double value, Labels labels = {}) {
    Metric(name, help, MetricType::Counter, std::move(labels)).counter.value = value;
  }
  void Counter(const char* name, const char* help, uint64_t value, Labels labels = {}) {
    Counter(name, help, static_cast<double>(value), std::move(labels));
  }
  void Times(const char* name, const char* help, const TimeHistogram& times, Labels labels = {}) {
    ClientMetric::Histogram& histogram =
        Metric(name, help, MetricType::Histogram, std::move(labels)).histogram;
    uint64_t sum = 0;
    for (size_t i = 0; i + 1 < kTimeBuckets; ++i) {
      sum += times.buckets[i];
      histogram.bucket.push_back({sum, static_cast<double>(kFirstBucketNs << i) / 1e9});
    }
    End(&histogram, times.sum.count, Seconds(times.sum));
  }
  void Groups(const char* name, const char* help, const ProcessCounts& counts) {
    ClientMetric::Histogram& histogram = Metric(name, help, MetricType::Histogram, {}).histogram;
    uint64_t sum = 0;
    for (size_t i = 0; i + 1 < kGroupBuckets; ++i) {
      sum += counts.sync_groups[i];
      histogram.bucket.push_back({sum, static_cast<double>(uint64_t{1} << i)});
    }
    End(&histogram, sum + counts.sync_groups.back(), static_cast<double>(counts.syncs));
  }

  const std::vector<MetricFamily>& all() const { return families_; }

 private:
  static void End(ClientMetric::Histogram* histogram, uint64_t count, double sum) {
    histogram->bucket.push_back({count, std::numeric_limits<double>::infinity()});
    histogram->sample_count = count;
    histogram->sample_sum = sum;
  }

  ClientMetric& Metric(const char* name, const char* help, MetricType type, Labels labels) {
    const auto [found, added] = places_.emplace(name, families_.size());
    if (added) families_.push_back({name, help, type, {}});
    ClientMetric& metric = families_[found->second].metric.emplace_back();
    metric.label = std::move(labels);
    return metric;
  }

  std::vector<MetricFamily> families_;
  std::map<std::string, size_t> places_;
};

void AddVolume(const VolumeFacts& facts, const VolumeStatus& status, const VolumeCounts& counts,
               const StoreHealth& health, Families* out) {
  const std::string& name = facts.record.name;
  const Labels labels = {{"volume", name}};
  out->Gauge("rewind_volume_live_bytes", "Bytes of file contents that the volume holds now.",
             static_cast<double>(status.live_bytes), labels);
  out->Gauge("rewind_volume_history_bytes",
             "Bytes of journal that hold the volume and its history.",
             static_cast<double>(status.history_bytes), labels);
  out->Gauge("rewind_volume_history_first_seconds",
             "The earliest instant that the volume can be looked at, as a Unix time.",
             Seconds(status.history_first), labels);
  out->Gauge("rewind_volume_history_last_seconds",
             "The instant of the volume's newest operation, as a Unix time.",
             Seconds(status.history_last), labels);
  out->Gauge("rewind_volume_write_bytes_per_second",
             "Bytes per second into the volume's journal, over the last minutes.",
             static_cast<double>(status.write_bytes_per_second), labels);
  out->Gauge("rewind_volume_pressure",
             "1 if history was given up before its time because the disk was nearly full, else 0.",
             status.pressure.empty() ? 0 : 1, labels);
  out->Gauge("rewind_volume_holders", "How many containers and commands have it mounted.",
             static_cast<double>(facts.holders.size()), labels);
  out->Gauge("rewind_volume_broken", "1 if the volume cannot be used, else 0.",
             health.broken.contains(name) ? 1 : 0, labels);
  const std::pair<const char*, const TimeSum*> kinds[] = {{"read", &counts.reads},
                                                          {"write", &counts.writes},
                                                          {"fsync", &counts.syncs},
                                                          {"other", &counts.others}};
  for (const auto& [kind, sum] : kinds) {
    const Labels of_kind = {{"volume", name}, {"kind", kind}};
    out->Counter("rewind_volume_requests_total", "Requests of programs to the volume.", sum->count,
                 of_kind);
    out->Counter("rewind_volume_request_seconds_total", "What those took.", Seconds(*sum), of_kind);
  }
  out->Counter("rewind_volume_read_bytes_total", "Bytes that programs read from the volume.",
               counts.read_bytes, labels);
  out->Counter("rewind_volume_written_bytes_total", "Bytes that programs wrote to the volume.",
               counts.written_bytes, labels);
}

void AddProcess(Families* out) {
  const ProcessCounts counts = CountsOfProcess();
  for (size_t i = 0; i < kRequestKinds; ++i) {
    out->Times("rewind_request_seconds", "What requests of programs took, of all volumes.",
               counts.requests[i], {{"kind", std::string(NameOf(static_cast<RequestKind>(i)))}});
  }
  for (int error = 1; error <= kMaxErrno; ++error) {
    const uint64_t count = counts.errors[static_cast<size_t>(error)];
    const char* const name = strerrorname_np(error);
    // Those that mean trouble are there from the first.
    const bool always = error == EIO || error == ENOSPC;
    if (name == nullptr || (count == 0 && !always)) continue;
    out->Counter("rewind_request_errors_total", "Requests that were answered with an error.", count,
                 {{"errno", name}});
  }
  out->Groups("rewind_fsync_group_size", "How many fsyncs one sync of a journal answered.", counts);
  out->Times("rewind_journal_sync_seconds", "What syncs of journals took.", counts.disk_syncs);
  out->Counter("rewind_collector_runs_total", "Runs of the collector.", counts.collector_runs);
  out->Counter("rewind_collector_freed_bytes_total", "Bytes of journals that were freed.",
               counts.collector_freed_bytes);
  out->Counter("rewind_collector_moved_bytes_total", "Bytes that were copied to free others.",
               counts.collector_moved_bytes);
  out->Counter("rewind_collector_dropped_versions_total", "Versions that left the index.",
               counts.collector_dropped_versions);
}

}  // namespace

uint64_t DaemonRestarts() {
  const char* const number = std::getenv(kDaemonNumberVariable);
  const uint64_t started = number == nullptr ? 1 : std::strtoull(number, nullptr, 10);
  return started > 0 ? started - 1 : 0;
}

std::string MetricsText(Volumes& volumes) {
  Families out;
  const StoreHealth health = volumes.Health();
  std::vector<std::string> names;
  for (const VolumeFacts& facts : volumes.List()) {
    const std::string& name = facts.record.name;
    names.push_back(name);
    try {
      AddVolume(facts, volumes.Status(name), FiguresOf(name)->counts(), health, &out);
    } catch (const Refused&) {
      continue;
    }
  }
  ForgetFiguresBut(names);
  AddProcess(&out);
  const StoreSizes sizes = volumes.Sizes();
  out.Gauge("rewind_volumes", "How many volumes there are.", static_cast<double>(names.size()));
  out.Gauge("rewind_index_bytes", "Bytes of the index on the disk.",
            static_cast<double>(sizes.index_bytes));
  out.Gauge("rewind_journal_bytes", "Bytes of all journals on the disk.",
            static_cast<double>(sizes.journal_bytes));
  out.Gauge("rewind_free_segment_bytes", "Bytes of freed segments that wait to be used again.",
            static_cast<double>(sizes.free_segment_bytes));
  out.Gauge("rewind_disk_free_bytes", "Bytes that are free on the disk under the data root.",
            static_cast<double>(health.bytes_free));
  out.Gauge("rewind_disk_short_bytes", "How far that is below the reserve; 0: it is not.",
            static_cast<double>(health.bytes_short));
  out.Gauge("rewind_index_damaged", "1 if the next start makes the index again, else 0.",
            health.index_damaged ? 1 : 0);
  out.Counter("rewind_daemon_restarts_total", "Daemons that ended and were replaced.",
              DaemonRestarts());
  out.Gauge("rewind_build_info", "1, labelled with the version.", 1, {{"version", REWIND_VERSION}});
  return prometheus::TextSerializer().Serialize(out.all());
}

}  // namespace rw
