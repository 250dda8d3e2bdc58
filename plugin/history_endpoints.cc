#include "plugin/history_endpoints.h"

#include <algorithm>
#include <cerrno>
#include <nlohmann/json.hpp>

#include "metadata/refused.h"
#include "metadata/time_text.h"
#include "plugin/facts.h"
#include "plugin/request.h"
#include "plugin/volumes.h"

namespace rw {
namespace {

using Json = nlohmann::json;

// As VolumeDriver.Remove, and says until when the history can be used.
Json Remove(Volumes& volumes, const Json& request) {
  const std::string name = Text(request, "Name");
  const std::optional<VolumeFacts> facts = volumes.Find(name);
  volumes.Remove(name);
  Json answer = Json::object();
  const std::vector<RemovedVolume> removed = volumes.ListRemoved();
  const auto found = std::find_if(removed.begin(), removed.end(), [&](const RemovedVolume& each) {
    return facts && each.record.id == facts->record.id;
  });
  if (found != removed.end()) answer["Expires"] = FormatInstant(found->expires);
  return answer;
}

Json ListRemoved(Volumes& volumes, const Json&) {
  Json list = Json::array();
  for (const RemovedVolume& removed : volumes.ListRemoved()) list.push_back(RemovedFacts(removed));
  return {{"Volumes", list}};
}

Json Purge(Volumes& volumes, const Json& request) {
  volumes.Purge(Text(request, "Name"));
  return Json::object();
}

Json Set(Volumes& volumes, const Json& request) {
  const std::map<std::string, std::string> changes = TextMap(request, "Changes");
  if (changes.empty()) throw Refused(EINVAL, "nothing to set: KEY=VALUE is needed");
  volumes.Set(Text(request, "Name"), changes);
  return Json::object();
}

Json DryRun(Volumes& volumes, const Json& request) {
  return {
      {"Report", ReportFacts(volumes.DryRun(Text(request, "Name"), TextMap(request, "Changes")))}};
}

Json Collect(Volumes& volumes, const Json&) { return {{"Report", ReportFacts(volumes.Collect())}}; }

Json ListPins(Volumes& volumes, const Json& request) {
  const std::string name = Text(request, "Name");
  const std::vector<Pin> pins = volumes.Pins(name);
  const Instant now = volumes.Now(name);
  Json list = Json::array();
  for (const Pin& pin : pins) list.push_back(PinFacts(pin, now));
  return {{"Pins", list}};
}

Json SetMark(Volumes& volumes, const Json& request) {
  std::vector<std::string> names = TextList(request, "Names");
  if (Flag(request, "All")) {
    if (!names.empty()) throw Refused(EINVAL, "name the volumes to mark or mark all, not both");
    names = volumes.WritableNames();
  }
  const Instant at =
      volumes.SetMark(names, Text(request, "Label"), OptionalText(request, "Note").value_or(""),
                      OptionalText(request, "At"));
  return {{"Instant", FormatInstant(at)}, {"Names", names}};
}

Json ListMarks(Volumes& volumes, const Json& request) {
  Json list = Json::array();
  for (const Mark& mark : volumes.Marks(Text(request, "Name"))) {
    list.push_back({{"label", mark.label},
                    {"at", FormatInstant(mark.at)},
                    {"made", FormatInstant(mark.made)},
                    {"note", mark.note}});
    if (!mark.consistent.empty()) list.back()["consistent"] = mark.consistent;
  }
  return {{"Marks", list}};
}

Json RemoveMark(Volumes& volumes, const Json& request) {
  volumes.RemoveMark(Text(request, "Name"), Text(request, "Label"));
  return Json::object();
}

}  // namespace

const std::map<std::string, Handler>& HistoryHandlers() {
  static const auto* const handlers = new std::map<std::string, Handler>{
      {"Rewind.Remove", Remove},   {"Rewind.ListRemoved", ListRemoved},
      {"Rewind.Purge", Purge},     {"Rewind.Set", Set},
      {"Rewind.DryRun", DryRun},   {"Rewind.Collect", Collect},
      {"Rewind.Pins", ListPins},   {"Rewind.Mark", SetMark},
      {"Rewind.Marks", ListMarks}, {"Rewind.Unmark", RemoveMark},
  };
  return *handlers;
}

}  // namespace rw
