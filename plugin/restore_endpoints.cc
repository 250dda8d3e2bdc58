#include "plugin/restore_endpoints.h"

#include <cerrno>
#include <nlohmann/json.hpp>

#include "fs/store.h"
#include "metadata/quantity.h"
#include "metadata/refused.h"
#include "metadata/time_text.h"
#include "plugin/facts.h"
#include "plugin/path_text.h"
#include "plugin/request.h"
#include "plugin/volumes.h"

namespace rw {
namespace {

using Json = nlohmann::json;

Json ReportOf(const RestoreReport& report) {
  Json json = {{"as_of", FormatInstant(report.source)},
               {"paths", Json::array()},
               {"inodes", report.inodes},
               {"bytes", report.bytes},
               {"size", HumanBytes(report.bytes)},
               {"dry_run", !report.done.has_value()}};
  for (const RestoreReport::Path& path : report.paths)
    json["paths"].push_back(
        {{"path", TextOfPath(path.path)}, {"action", RestoreChangeName(path.kind)}});
  if (report.done) {
    json["at"] = FormatInstant(*report.done);
    return json;
  }
  json["created"] = report.created;
  json["replaced"] = report.replaced;
  json["removed"] = report.removed;
  json["unchanged"] = report.unchanged;
  json["removed_bytes"] = report.removed_bytes;
  json["removed_size"] = HumanBytes(report.removed_bytes);
  json["changes"] = Json::array();
  for (const RestoreChange& change : report.changes) {
    json["changes"].push_back({{"action", RestoreChangeName(change.kind)},
                               {"path", TextOfPath(change.path)},
                               {"type", TypeName(change.type)},
                               {"bytes", change.bytes}});
  }
  return json;
}

Json Restore(Volumes& volumes, const Json& request) {
  RestoreRequest asked;
  asked.volume = Text(request, "Name");
  for (const std::string& text : TextList(request, "Paths"))
    asked.paths.push_back(PathOfText(text));
  asked.to = PathOfText(OptionalText(request, "To").value_or(""));
  asked.dry_run = Flag(request, "DryRun");
  const std::string at = Text(request, "At");
  return {{"Report", ReportOf(volumes.Restore(std::move(asked), at))}};
}

Json Undo(Volumes& volumes, const Json& request) {
  const bool dry_run = Flag(request, "DryRun");
  const Volumes::Undone undone =
      volumes.Undo(Text(request, "Name"), Flag(request, "Redo"), dry_run);
  Json json = undone.report ? ReportOf(*undone.report) : Json::object();
  json["undone"] = undone.action.rollback ? "rollback" : "restore";
  json["undone_at"] = FormatInstant(undone.action.at);
  if (undone.action.source != Instant{}) json["undone_as_of"] = FormatInstant(undone.action.source);
  json["as_of"] = FormatInstant(undone.source);
  json["dry_run"] = dry_run;
  return {{"Report", json}};
}

// How far a restore, an undo or a forget is, for who waits for its answer.
Json Progress(Volumes& volumes, const Json& request) {
  const CheckProgress progress = volumes.ProgressOf(Text(request, "Name"));
  return {{"Step", progress.step}, {"Done", progress.done}, {"Total", progress.total}};
}

Json GiveUp(Volumes& volumes, const Json& request) {
  volumes.GiveUp(Text(request, "Name"));
  return Json::object();
}

Json Schedules(Volumes& volumes, const Json& request) {
  Json list = Json::array();
  for (const ScheduleStatus& status : volumes.Schedules(OptionalText(request, "Name"))) {
    Json json = {
        {"volume", status.volume},
        {"mark_every",
         status.schedule.every_ns == 0 ? "none" : FormatDuration(status.schedule.every_ns)},
        {"mark_keep", status.schedule.KeepText()},
        {"marks", status.marks}};
    if (status.last) json["last"] = FormatInstant(*status.last);
    if (status.next) json["next"] = FormatInstant(*status.next);
    list.push_back(std::move(json));
  }
  return {{"Schedules", list}};
}

}  // namespace

const std::map<std::string, Handler>& RestoreHandlers() {
  static const auto* const handlers =
      new std::map<std::string, Handler>{{"Rewind.Restore", Restore},
                                         {"Rewind.Undo", Undo},
                                         {"Rewind.Schedules", Schedules},
                                         {"Rewind.Progress", Progress},
                                         {"Rewind.GiveUp", GiveUp}};
  return *handlers;
}

}  // namespace rw
