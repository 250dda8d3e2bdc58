#include "plugin/facts.h"

#include <cstdio>

#include "metadata/time_text.h"

namespace rw {

std::string HumanBytes(uint64_t bytes) {
  if (bytes < 1024) return std::to_string(bytes) + " B";
  const char* const units[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  double value = static_cast<double>(bytes) / 1024;
  size_t unit = 0;
  // From 999.5 on, rounding would show a fourth digit.
  while (value >= 999.5 && unit + 1 < std::size(units)) {
    value /= 1024;
    ++unit;
  }
  char text[32];
  std::snprintf(text, sizeof text, value < 9.95 ? "%.1f %s" : "%.0f %s", value, units[unit]);
  return text;
}

nlohmann::json BriefFacts(const VolumeFacts& facts) {
  const VolumeRecord& record = facts.record;
  nlohmann::json json = {{"role", RoleName(record.role)},
                         {"created_at", FormatInstant(record.created)},
                         {"writable", record.writable()},
                         {"mounted_by", nlohmann::json::array()}};
  for (const MountHolder& holder : facts.holders) {
    std::string text = holder.id;
    if (holder.at) text += " at " + FormatInstant(*holder.at);
    json["mounted_by"].push_back(text);
  }
  if (!facts.mountpoint.empty()) json["mountpoint"] = facts.mountpoint;
  if (!record.source.empty()) json["source"] = record.source;
  if (record.source_at) json["source_at"] = FormatInstant(*record.source_at);
  if (record.fixed_at) json["shows"] = FormatInstant(*record.fixed_at);
  if (record.rolled_back_to) {
    json["rolled_back_to"] = FormatInstant(*record.rolled_back_to);
    json["rolled_back_at"] = FormatInstant(record.bindings.back().since);
  }
  if (record.size_bytes) json["size"] = HumanBytes(*record.size_bytes);
  if (!record.options.empty()) json["options"] = record.options;
  return json;
}

nlohmann::json AllFacts(const VolumeFacts& facts, const VolumeStatus& status) {
  nlohmann::json json = BriefFacts(facts);
  json["history_from"] = FormatInstant(status.history_first);
  json["history_to"] = FormatInstant(status.history_last);
  json["history_bytes"] = status.history_bytes;
  json["history_size"] = HumanBytes(status.history_bytes);
  json["live_bytes"] = status.live_bytes;
  json["live_size"] = HumanBytes(status.live_bytes);
  json["live_inodes"] = status.live_inodes;
  return json;
}

}  // namespace rw
