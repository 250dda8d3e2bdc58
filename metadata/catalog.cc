#include "metadata/catalog.h"

#include <errno.h>

#include <nlohmann/json.hpp>

#include "metadata/refused.h"

namespace rw {
namespace {

using nlohmann::json;

constexpr const char* kRoleNames[] = {"volume", "clone", "snapshot"};

Role ParseRole(const std::string& text) {
  for (size_t i = 0; i < std::size(kRoleNames); ++i) {
    if (text == kRoleNames[i]) return static_cast<Role>(i);
  }
  throw Refused(EIO, "unknown volume role in the catalog: " + text);
}

void PutOptional(json* out, const char* key, const std::optional<Instant>& value) {
  if (value) (*out)[key] = value->ns;
}

std::optional<Instant> GetOptional(const json& in, const char* key) {
  if (!in.contains(key)) return std::nullopt;
  return Instant{in.at(key).get<uint64_t>()};
}

template <typename T>
T Guarded(std::string_view text, const char* what, T (*decode)(const json&)) {
  try {
    return decode(json::parse(text));
  } catch (const json::exception& error) {
    throw Refused(EIO, std::string("damaged ") + what + " in the catalog: " + error.what());
  }
}

}  // namespace

const char* RoleName(Role role) { return kRoleNames[static_cast<size_t>(role)]; }

std::string VolumeRecord::Encode() const {
  json out = {{"name", name},
              {"id", id},
              {"role", RoleName(role)},
              {"created", created.ns},
              {"options", options}};
  json list = json::array();
  for (const Binding& binding : bindings) {
    list.push_back({{"since", binding.since.ns}, {"timeline", binding.timeline}});
    PutOptional(&list.back(), "undoes", binding.undoes);
  }
  out["bindings"] = std::move(list);
  PutOptional(&out, "fixed_at", fixed_at);
  if (!source.empty()) out["source"] = source;
  PutOptional(&out, "source_at", source_at);
  PutOptional(&out, "rolled_back_to", rolled_back_to);
  if (size_bytes) out["size_bytes"] = *size_bytes;
  if (!retention.empty()) out["retention"] = retention;
  if (!schedule.empty()) out["schedule"] = schedule;
  if (scheduled != Instant{}) out["scheduled"] = scheduled.ns;
  if (horizon != Instant{}) out["horizon"] = horizon.ns;
  if (!points.empty()) {
    json instants = json::array();
    for (const Instant point : points) instants.push_back(point.ns);
    out["points"] = std::move(instants);
  }
  if (!pressure.empty()) out["pressure"] = pressure;
  PutOptional(&out, "removed", removed);
  PutOptional(&out, "expires", expires);
  return out.dump();
}

VolumeRecord VolumeRecord::Decode(std::string_view text) {
  return Guarded<VolumeRecord>(text, "volume", [](const json& in) {
    VolumeRecord record;
    record.name = in.at("name");
    record.id = in.at("id");
    record.role = ParseRole(in.at("role"));
    record.created.ns = in.at("created");
    record.options = in.at("options").get<std::map<std::string, std::string>>();
    for (const json& item : in.at("bindings")) {
      record.bindings.push_back({Instant{item.at("since").get<uint64_t>()},
                                 item.at("timeline").get<TimelineId>(),
                                 GetOptional(item, "undoes")});
    }
    if (record.bindings.empty())
      throw Refused(EIO, "volume without a timeline in the catalog: " + record.name);
    record.fixed_at = GetOptional(in, "fixed_at");
    record.source = in.value("source", "");
    record.source_at = GetOptional(in, "source_at");
    record.rolled_back_to = GetOptional(in, "rolled_back_to");
    if (in.contains("size_bytes")) record.size_bytes = in.at("size_bytes").get<uint64_t>();
    if (in.contains("retention")) record.retention = in.at("retention").get<RetentionSettings>();
    if (in.contains("schedule")) record.schedule = in.at("schedule").get<ScheduleSettings>();
    record.scheduled.ns = in.value("scheduled", uint64_t{0});
    record.horizon.ns = in.value("horizon", record.created.ns);
    if (in.contains("points")) {
      for (const json& point : in.at("points"))
        record.points.push_back(Instant{point.get<uint64_t>()});
    }
    record.pressure = in.value("pressure", "");
    record.removed = GetOptional(in, "removed");
    record.expires = GetOptional(in, "expires");
    return record;
  });
}

std::string Mark::Encode() const {
  json out = {{"volume", volume}, {"label", label}, {"at", at.ns}, {"made", made.ns}};
  if (!note.empty()) out["note"] = note;
  if (!consistent.empty()) out["consistent"] = consistent;
  if (by_schedule) out["by_schedule"] = true;
  return out.dump();
}

Mark Mark::Decode(std::string_view text) {
  return Guarded<Mark>(text, "mark", [](const json& in) {
    Mark mark;
    mark.volume = in.at("volume");
    mark.label = in.at("label");
    mark.at.ns = in.at("at");
    mark.made.ns = in.at("made");
    mark.note = in.value("note", "");
    mark.consistent = in.value("consistent", "");
    mark.by_schedule = in.value("by_schedule", false);
    return mark;
  });
}

std::string TimelineRecord::Encode() const {
  json out = {{"id", id},
              {"created", created.ns},
              {"first_ino", first_ino},
              {"base_bytes", base_bytes},
              {"base_inodes", base_inodes}};
  if (parent) {
    out["parent"] = *parent;
    out["fork"] = fork.ns;
  }
  if (dropped) out["dropped"] = true;
  if (absorbed_by) out["absorbed_by"] = *absorbed_by;
  if (took_in) out["took_in"] = true;
  return out.dump();
}

TimelineRecord TimelineRecord::Decode(std::string_view text) {
  return Guarded<TimelineRecord>(text, "timeline", [](const json& in) {
    TimelineRecord record;
    record.id = in.at("id");
    record.created.ns = in.at("created");
    record.first_ino = in.at("first_ino");
    record.base_bytes = in.at("base_bytes");
    record.base_inodes = in.at("base_inodes");
    if (in.contains("parent")) {
      record.parent = in.at("parent").get<TimelineId>();
      record.fork.ns = in.at("fork");
    }
    record.dropped = in.value("dropped", false);
    if (in.contains("absorbed_by")) record.absorbed_by = in.at("absorbed_by").get<TimelineId>();
    record.took_in = in.value("took_in", false);
    return record;
  });
}

}  // namespace rw
