#include "plugin/commands.h"

#include <algorithm>
#include <cerrno>
#include <iostream>
#include <nlohmann/json.hpp>

#include "metadata/quoted.h"
#include "metadata/refused.h"
#include "plugin/client.h"
#include "plugin/options.h"

namespace rw {
namespace {

using Json = nlohmann::json;

std::string ToText(const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_boolean()) return value.get<bool>() ? "yes" : "no";
  std::string text;
  if (value.is_array()) {
    for (const Json& item : value) text += (text.empty() ? "" : ", ") + ToText(item);
    return text;
  }
  if (value.is_object()) {
    for (const auto& [key, item] : value.items()) {
      text += (text.empty() ? "" : ", ") + key + "=" + ToText(item);
    }
    return text;
  }
  return value.dump();
}

// In columns as wide as their widest cell.
void PrintTable(const std::vector<std::vector<std::string>>& rows) {
  std::vector<size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  for (const auto& row : rows) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      line += row[i];
      if (i + 1 < row.size()) line += std::string(widths[i] + 2 - row[i].size(), ' ');
    }
    std::cout << line.substr(0, line.find_last_not_of(' ') + 1) << '\n';
  }
}

std::string Origin(const Json& volume) {
  if (!volume.contains("source")) return "";
  std::string origin = ToText(volume["source"]);
  const char* const when = volume.contains("shows") ? "shows" : "source_at";
  if (volume.contains(when)) origin += " at " + ToText(volume[when]);
  return origin;
}

}  // namespace

void CreateCommand(const std::filesystem::path& socket, const std::string& name,
                   const std::vector<std::string>& options) {
  Json map = Json::object();
  for (const std::string& option : options) {
    size_t equals = option.find('=');
    std::string key = option.substr(0, equals);
    std::string value = equals == std::string::npos ? "" : option.substr(equals + 1);
    if (key == "help") {
      std::cout << VolumeOptionHelp() << '\n';
      return;
    }
    if (map.contains(key)) throw Refused(EINVAL, "option " + Quoted(key) + " is given twice");
    map[key] = value;
  }
  Ask(socket, "VolumeDriver.Create", {{"Name", name}, {"Opts", map}});
  std::cout << name << '\n';
}

void ListCommand(const std::filesystem::path& socket, bool json) {
  Json volumes = Ask(socket, "Rewind.List", Json::object()).at("Volumes");
  if (json) {
    std::cout << volumes.dump(2) << '\n';
    return;
  }
  std::vector<std::vector<std::string>> rows = {{"NAME", "ROLE", "CREATED", "FROM", "MOUNTED BY"}};
  for (const Json& volume : volumes) {
    rows.push_back({ToText(volume["name"]), ToText(volume["role"]), ToText(volume["created_at"]),
                    Origin(volume), ToText(volume["mounted_by"])});
  }
  PrintTable(rows);
}

void InspectCommand(const std::filesystem::path& socket, const std::string& name, bool json) {
  Json volume = Ask(socket, "Rewind.Inspect", {{"Name", name}}).at("Volume");
  if (json) {
    std::cout << volume.dump(2) << '\n';
    return;
  }
  // The order in which people ask; what is not named here follows.
  std::vector<std::string> keys = {"name",           "role",       "created_at",   "source",
                                   "source_at",      "shows",      "history_from", "history_to",
                                   "history_size",   "live_size",  "live_inodes",  "rolled_back_to",
                                   "rolled_back_at", "mounted_by", "mountpoint"};
  for (const auto& [key, value] : volume.items()) {
    if (std::find(keys.begin(), keys.end(), key) == keys.end()) keys.push_back(key);
  }
  std::vector<std::vector<std::string>> rows;
  for (const std::string& key : keys) {
    if (!volume.contains(key)) continue;
    std::string label = key;
    std::replace(label.begin(), label.end(), '_', ' ');
    rows.push_back({label, ToText(volume[key])});
  }
  PrintTable(rows);
}

void RemoveCommand(const std::filesystem::path& socket, const std::string& name) {
  Ask(socket, "VolumeDriver.Remove", {{"Name", name}});
  std::cout << name << '\n';
}

void NowCommand(const std::filesystem::path& socket, const std::string& name, bool json) {
  Json answer = Ask(socket, "Rewind.Now", {{"Name", name}});
  if (json) {
    std::cout << Json{{"instant", answer.at("Instant")}}.dump() << '\n';
  } else {
    std::cout << answer.at("Instant").get<std::string>() << '\n';
  }
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
    std::cout << marks.dump(2) << '\n';
    return;
  }
  std::vector<std::vector<std::string>> rows = {{"LABEL", "AT", "NOTE"}};
  for (const Json& mark : marks)
    rows.push_back({ToText(mark["label"]), ToText(mark["at"]), ToText(mark["note"])});
  PrintTable(rows);
}

void UnmarkCommand(const std::filesystem::path& socket, const std::string& name,
                   const std::string& label) {
  Ask(socket, "Rewind.Unmark", {{"Name", name}, {"Label", label}});
  std::cout << label << '\n';
}

}  // namespace rw
