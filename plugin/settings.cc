#include "plugin/settings.h"

#include "metadata/quantity.h"

namespace rw {

// What an earlier daemon had open has to be open again before anything is collected.
static constexpr unsigned kCollectAfterSeconds = 10;

StoreOptions StoreOptionsOf(const ServeSettings& settings) {
  StoreOptions options;
  options.root = settings.root;
  options.defaults = {{"retention", settings.retention},
                      {"keep", settings.keep},
                      {"history-limit", settings.history_limit},
                      {"trash", settings.trash}};
  RetentionPolicy::Parse({}, options.defaults);
  if (settings.reserve == "0") {
    options.collector.reserve_bytes = 0;
  } else if (settings.reserve != kDefaultReserve) {
    options.collector.reserve_bytes = ParseByteCount("reserve", settings.reserve);
  }
  options.collector.delay_seconds = kCollectAfterSeconds;
  options.collector.copy_bytes_per_second = ParseByteCount("collect-rate", settings.collect_rate);
  return options;
}

}  // namespace rw
