#include "plugin/metrics.h"

#include <prometheus/gauge.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include "metadata/refused.h"
#include "plugin/volumes.h"

namespace rw {
namespace {

using Gauges = prometheus::Family<prometheus::Gauge>;

Gauges& Family(prometheus::Registry& registry, const char* name, const char* help) {
  return prometheus::BuildGauge().Name(name).Help(help).Register(registry);
}

double Seconds(Instant at) { return static_cast<double>(at.ns) / 1e9; }

}  // namespace

std::string MetricsText(Volumes& volumes) {
  prometheus::Registry registry;
  Gauges& live = Family(registry, "rewind_volume_live_bytes",
                        "Bytes of file contents that the volume holds now.");
  Gauges& history = Family(registry, "rewind_volume_history_bytes",
                           "Bytes of journal that hold the volume and its history.");
  Gauges& first = Family(registry, "rewind_volume_history_first_seconds",
                         "The earliest instant that the volume can be looked at, as a Unix time.");
  Gauges& last = Family(registry, "rewind_volume_history_last_seconds",
                        "The instant of the volume's newest operation, as a Unix time.");
  Gauges& rate = Family(registry, "rewind_volume_write_bytes_per_second",
                        "Bytes per second into the volume's journal, over the last minutes.");
  Gauges& pressure = Family(registry, "rewind_volume_pressure",
                            "1 if history was given up before its time because the disk was nearly "
                            "full, else 0.");
  Gauges& mounted = Family(registry, "rewind_volume_holders",
                           "How many containers and commands have it mounted.");
  for (const VolumeFacts& facts : volumes.List()) {
    VolumeStatus status;
    try {
      status = volumes.Status(facts.record.name);
    } catch (const Refused&) {
      continue;
    }
    const prometheus::Labels labels = {{"volume", facts.record.name}};
    live.Add(labels).Set(static_cast<double>(status.live_bytes));
    history.Add(labels).Set(static_cast<double>(status.history_bytes));
    first.Add(labels).Set(Seconds(status.history_first));
    last.Add(labels).Set(Seconds(status.history_last));
    rate.Add(labels).Set(static_cast<double>(status.write_bytes_per_second));
    pressure.Add(labels).Set(status.pressure.empty() ? 0 : 1);
    mounted.Add(labels).Set(static_cast<double>(facts.holders.size()));
  }
  return prometheus::TextSerializer().Serialize(registry.Collect());
}

}  // namespace rw
