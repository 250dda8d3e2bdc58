#include "plugin/facts.h"

#include <algorithm>
#include <cstdio>

#include "metadata/quantity.h"
#include "metadata/time_text.h"

namespace rw {
namespace {

// `retention`, `keep`, … as JSON keys are spelled.
std::string KeyOf(std::string name) {
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

void AddRetention(const VolumeStatus& status, nlohmann::json& json) {
  for (const auto& [name, text] : status.policy.ToText()) json[KeyOf(name)] = text;
  json["points"] = status.points;
  json["pins"] = status.pins;
  json["write_bytes_per_second"] = status.write_bytes_per_second;
  json["write_rate"] = HumanBytes(status.write_bytes_per_second) + "/s";
  if (status.fits_ns) {
    json["fits_seconds"] = *status.fits_ns / 1'000'000'000;
    json["fits"] = HumanDuration(*status.fits_ns);
  }
  if (!status.pressure.empty()) json["pressure"] = status.pressure;
  const MarkSchedule schedule = MarkSchedule::Parse(status.record.schedule);
  if (schedule.every_ns != 0) {
    json["mark_every"] = FormatDuration(schedule.every_ns);
    json["mark_keep"] = schedule.KeepText();
    if (status.record.scheduled != Instant{})
      json["mark_last"] = FormatInstant(status.record.scheduled);
  }
}

const char* KindName(Pin::Kind kind) {
  switch (kind) {
    case Pin::Kind::kMark:
      return "mark";
    case Pin::Kind::kSnapshot:
      return "snapshot";
    case Pin::Kind::kClone:
      return "clone";
  }
  __builtin_unreachable();
}

}  // namespace

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

std::string HumanDuration(uint64_t ns) {
  constexpr uint64_t kSecond = 1'000'000'000;
  constexpr uint64_t kUnits[] = {86400 * kSecond, 3600 * kSecond, 60 * kSecond, kSecond};
  for (size_t i = 0; i + 1 < std::size(kUnits); ++i) {
    if (ns >= kUnits[i]) return FormatDuration(ns - ns % kUnits[i + 1]);
  }
  return ns < kSecond ? "0s" : FormatDuration(ns - ns % kSecond);
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
  if (facts.record.writable()) AddRetention(status, json);
  return json;
}

nlohmann::json RemovedFacts(const RemovedVolume& removed) {
  return {{"name", removed.record.name},
          {"role", RoleName(removed.record.role)},
          {"created_at", FormatInstant(removed.record.created)},
          {"removed_at", FormatInstant(removed.removed)},
          {"expires_at", FormatInstant(removed.expires)},
          {"history_bytes", removed.history_bytes},
          {"history_size", HumanBytes(removed.history_bytes)}};
}

nlohmann::json PinFacts(const Pin& pin, Instant now) {
  const uint64_t age_ns = now > pin.made ? now.ns - pin.made.ns : 0;
  return {{"kind", KindName(pin.kind)},   {"name", pin.name},
          {"at", FormatInstant(pin.at)},  {"made", FormatInstant(pin.made)},
          {"age", HumanDuration(age_ns)}, {"bytes", pin.bytes},
          {"size", HumanBytes(pin.bytes)}};
}

nlohmann::json ReportFacts(const CollectReport& report) {
  return {{"history_from", FormatInstant(report.horizon)},
          {"points", report.points},
          {"dropped_versions", report.versions},
          {"freed_bytes", report.journal_bytes},
          {"freed_size", HumanBytes(report.journal_bytes)},
          {"moved_bytes", report.moved_bytes},
          {"moved_size", HumanBytes(report.moved_bytes)}};
}

}  // namespace rw
