#include "plugin/history_commands.h"

#include <cerrno>
#include <iostream>
#include <nlohmann/json.hpp>

#include "metadata/refused.h"
#include "plugin/client.h"
#include "plugin/commands.h"
#include "plugin/printing.h"
#include "plugin/waiting.h"

namespace rw {
namespace {

using Json = nlohmann::json;

// As long as it takes: what is copied may be a whole disk, at a rate of the operator's choice.
constexpr int kCollectTimeoutSeconds = 7 * 86400;

void PrintReport(const Json& report, const std::vector<std::vector<std::string>>& labels) {
  std::vector<std::vector<std::string>> rows;
  rows.reserve(labels.size());
  for (const auto& label : labels) rows.push_back({label[0], ToText(report.at(label[1]))});
  PrintTable(rows);
}

}  // namespace

void SetCommand(const std::filesystem::path& socket, const std::string& name,
                const std::vector<std::string>& changes) {
  Ask(socket, "Rewind.Set", {{"Name", name}, {"Changes", KeysAndValues(changes, true)}});
  std::cout << name << '\n';
}

void RetentionCommand(const std::filesystem::path& socket, const std::string& name, bool json) {
  const Json volume = Ask(socket, "Rewind.Inspect", {{"Name", name}}).at("Volume");
  if (!volume.contains("retention")) {
    throw Refused(EROFS,
                  name + " is a snapshot volume: it shows one instant, and has no retention");
  }
  const std::vector<std::string> keys = {"retention",     "keep",         "history_limit",
                                         "trash",         "history_from", "history_to",
                                         "points",        "pins",         "history_size",
                                         "history_bytes", "write_rate",   "write_bytes_per_second",
                                         "fits",          "fits_seconds", "pressure"};
  Json shown = Json::object();
  for (const std::string& key : keys) {
    const bool number =
        key.ends_with("_bytes") || key.ends_with("_second") || key.ends_with("_seconds");
    if (volume.contains(key) && (json || !number)) shown[key] = volume[key];
  }
  if (json) {
    PrintJson(shown);
  } else {
    PrintFields(shown, keys);
  }
}

void DryRunCommand(const std::filesystem::path& socket, const std::string& name,
                   const std::vector<std::string>& changes, bool json) {
  const Json report =
      Ask(socket, "Rewind.DryRun", {{"Name", name}, {"Changes", KeysAndValues(changes, true)}})
          .at("Report");
  if (json) {
    PrintJson(report);
    return;
  }
  PrintReport(report, {{"would keep every write since", "history_from"},
                       {"would keep points before it", "points"},
                       {"would drop versions", "dropped_versions"},
                       {"would free", "freed_size"},
                       {"would copy to free it", "moved_size"}});
}

void CollectCommand(const std::filesystem::path& socket, bool json) {
  const auto ask = [&] {
    const Waiting waiting("collecting");
    return Ask(socket, "Rewind.Collect", Json::object(), kCollectTimeoutSeconds).at("Report");
  };
  const Json report = ask();
  if (json) {
    PrintJson(report);
    return;
  }
  PrintReport(report, {{"dropped versions", "dropped_versions"},
                       {"freed", "freed_size"},
                       {"copied to free it", "moved_size"}});
}

void PinsCommand(const std::filesystem::path& socket, const std::string& name, bool json) {
  const Json pins = Ask(socket, "Rewind.Pins", {{"Name", name}}).at("Pins");
  if (json) {
    PrintJson(pins);
    return;
  }
  std::vector<std::vector<std::string>> rows = {{"KIND", "NAME", "AT", "AGE", "HOLDS"}};
  for (const Json& pin : pins) {
    rows.push_back({ToText(pin["kind"]), ToText(pin["name"]), ToText(pin["at"]), ToText(pin["age"]),
                    ToText(pin["size"])});
  }
  PrintTable(rows);
}

void RemoveCommand(const std::filesystem::path& socket, const std::string& name) {
  const Json answer = Ask(socket, "Rewind.Remove", {{"Name", name}});
  std::cout << name << '\n';
  if (!answer.contains("Expires")) return;
  std::cout << "Clones and snapshot volumes of it can be made until " << ToText(answer["Expires"])
            << "; rewind purge ends that now.\n";
}

void ListRemovedCommand(const std::filesystem::path& socket, bool json) {
  const Json volumes = Ask(socket, "Rewind.ListRemoved", Json::object()).at("Volumes");
  if (json) {
    PrintJson(volumes);
    return;
  }
  std::vector<std::vector<std::string>> rows = {{"NAME", "ROLE", "REMOVED", "EXPIRES", "HISTORY"}};
  for (const Json& volume : volumes) {
    rows.push_back({ToText(volume["name"]), ToText(volume["role"]), ToText(volume["removed_at"]),
                    ToText(volume["expires_at"]), ToText(volume["history_size"])});
  }
  PrintTable(rows);
}

void PurgeCommand(const std::filesystem::path& socket, const std::string& name) {
  Ask(socket, "Rewind.Purge", {{"Name", name}});
  std::cout << name << '\n';
}

void MarkCommand(const std::filesystem::path& socket, const MarkRequest& request, bool json) {
  Json body = {{"Names", request.names}, {"All", request.all}, {"Label", request.label}};
  if (!request.note.empty()) body["Note"] = request.note;
  if (!request.at.empty()) body["At"] = request.at;
  const Json answer = Ask(socket, "Rewind.Mark", body);
  if (json) {
    std::cout << Json{{"instant", answer.at("Instant")}, {"volumes", answer.at("Names")}}.dump()
              << '\n';
  } else {
    std::cout << answer.at("Instant").get<std::string>() << '\n';
  }
}

void MarksCommand(const std::filesystem::path& socket, const std::string& name, bool json) {
  const Json marks = Ask(socket, "Rewind.Marks", {{"Name", name}}).at("Marks");
  if (json) {
    PrintJson(marks);
    return;
  }
  std::vector<std::vector<std::string>> rows = {{"LABEL", "AT", "CONSISTENT", "NOTE"}};
  for (const Json& mark : marks) {
    rows.push_back({ToText(mark["label"]), ToText(mark["at"]), mark.value("consistent", "no"),
                    ToText(mark["note"])});
  }
  PrintTable(rows);
}

void UnmarkCommand(const std::filesystem::path& socket, const std::string& name,
                   const std::string& label) {
  Ask(socket, "Rewind.Unmark", {{"Name", name}, {"Label", label}});
  std::cout << label << '\n';
}

}  // namespace rw
