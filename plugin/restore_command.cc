#include "plugin/restore_command.h"

#include <iostream>
#include <nlohmann/json.hpp>

#include "plugin/client.h"
#include "plugin/path_text.h"
#include "plugin/printing.h"
#include "plugin/waiting.h"

namespace rw {

using Json = nlohmann::json;

namespace {

// What a dry run has found, a line for each path that would differ.
void PrintChanges(const Json& report) {
  std::vector<std::vector<std::string>> rows;
  for (const Json& change : report.at("changes")) {
    rows.push_back({change.at("action").get<std::string>(), Shown(ToText(change.at("path"))),
                    change.at("type").get<std::string>(),
                    change.at("type") == "file" ? ToText(change.at("bytes")) + " B" : ""});
  }
  if (!rows.empty()) PrintTable(rows);
  const auto count = [&](const char* key) { return report.at(key).get<uint64_t>(); };
  const uint64_t differing = count("created") + count("replaced") + count("removed");
  if (differing > rows.size()) std::cout << "and " << differing - rows.size() << " more\n";
  std::cout << "would create " << count("created") << ", replace " << count("replaced")
            << " and remove " << count("removed") << " (" << ToText(report.at("removed_size"))
            << "); " << count("unchanged") << " are as they were. " << ToText(report.at("size"))
            << " would be restored, none of it copied\n";
}

void PrintRestored(const Json& report) {
  if (report.at("paths").empty()) {
    std::cout << "nothing to do: it is as it was\n";
    return;
  }
  for (const Json& path : report.at("paths")) {
    const std::string action = path.at("action");
    std::cout << (action == "remove" ? "removed " : "restored ") << Shown(ToText(path.at("path")))
              << "\n";
  }
  std::cout << "as of " << ToText(report.at("as_of")) << ": " << ToText(report.at("inodes"))
            << (report.at("inodes") == 1 ? " file or directory, " : " files and directories, ")
            << ToText(report.at("size")) << "; done at " << ToText(report.at("at")) << "\n";
}

}  // namespace

void RestoreCommand(const std::filesystem::path& socket, const RestoreCommandRequest& request,
                    bool json) {
  Json question{{"Name", request.name}, {"Paths", Json::array()}, {"At", request.at}};
  for (const std::string& path : request.paths) question["Paths"].push_back(TextOfArgument(path));
  if (!request.to.empty()) question["To"] = TextOfArgument(request.to);
  if (request.dry_run) question["DryRun"] = true;
  const Json report =
      AskPatiently(socket, "Rewind.Restore", question, request.name, "restoring in " + request.name)
          .at("Report");
  if (json) {
    PrintJson(report);
  } else if (request.dry_run) {
    PrintChanges(report);
  } else {
    PrintRestored(report);
  }
}

void UndoCommand(const std::filesystem::path& socket, const RestoreCommandRequest& request,
                 bool json) {
  Json question{{"Name", request.name}};
  if (request.redo) question["Redo"] = true;
  if (request.dry_run) question["DryRun"] = true;
  const Json report =
      AskPatiently(socket, "Rewind.Undo", question, request.name, "undoing in " + request.name)
          .at("Report");
  if (json) {
    PrintJson(report);
    return;
  }
  std::cout << (request.dry_run ? "would take back the " : "took back the ")
            << ToText(report.at("undone")) << " of " << ToText(report.at("undone_at"));
  if (report.contains("undone_as_of")) std::cout << " to " << ToText(report.at("undone_as_of"));
  std::cout << "\n";
  if (report.at("undone") == "rollback") {
    std::cout << request.name << (request.dry_run ? " would be" : " is") << " as it was at "
              << ToText(report.at("as_of")) << "\n";
  } else if (request.dry_run) {
    PrintChanges(report);
  } else {
    PrintRestored(report);
  }
}

void ScheduleCommand(const std::filesystem::path& socket, const std::string& name, bool json) {
  Json question = Json::object();
  if (!name.empty()) question["Name"] = name;
  const Json list = Ask(socket, "Rewind.Schedules", question).at("Schedules");
  if (json) {
    PrintJson(list);
    return;
  }
  std::vector<std::vector<std::string>> rows = {
      {"VOLUME", "MARK EVERY", "KEEP", "MARKS", "LAST", "NEXT"}};
  for (const Json& each : list) {
    rows.push_back({ToText(each.at("volume")), ToText(each.at("mark_every")),
                    ToText(each.at("mark_keep")), ToText(each.at("marks")),
                    each.contains("last") ? ToText(each.at("last")) : "",
                    each.contains("next") ? ToText(each.at("next")) : ""});
  }
  PrintTable(rows);
}

}  // namespace rw
