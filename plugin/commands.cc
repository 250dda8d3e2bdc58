#include "plugin/commands.h"

#include <algorithm>
#include <cerrno>
#include <iostream>
#include <nlohmann/json.hpp>

#include "metadata/quoted.h"
#include "metadata/refused.h"
#include "plugin/client.h"
#include "plugin/options.h"
#include "plugin/printing.h"

namespace rw {
namespace {

using Json = nlohmann::json;

std::string Origin(const Json& volume) {
  if (!volume.contains("source")) return "";
  std::string origin = ToText(volume["source"]);
  const char* const when = volume.contains("shows") ? "shows" : "source_at";
  if (volume.contains(when)) origin += " at " + ToText(volume[when]);
  return origin;
}

}  // namespace

Json KeysAndValues(const std::vector<std::string>& texts, bool value_needed) {
  Json map = Json::object();
  for (const std::string& text : texts) {
    const size_t equals = text.find('=');
    const std::string key = text.substr(0, equals);
    if (value_needed && equals == std::string::npos) {
      throw Refused(EINVAL, "KEY=VALUE is needed instead of " + Quoted(text));
    }
    if (map.contains(key)) throw Refused(EINVAL, "option " + Quoted(key) + " is given twice");
    map[key] = equals == std::string::npos ? "" : text.substr(equals + 1);
  }
  return map;
}

void CreateCommand(const std::filesystem::path& socket, const std::string& name,
                   const std::vector<std::string>& options) {
  for (const std::string& option : options) {
    if (option.substr(0, option.find('=')) != "help") continue;
    std::cout << VolumeOptionHelp() << '\n';
    return;
  }
  Ask(socket, "VolumeDriver.Create", {{"Name", name}, {"Opts", KeysAndValues(options)}});
  std::cout << name << '\n';
}

void ListCommand(const std::filesystem::path& socket, bool json) {
  Json volumes = Ask(socket, "Rewind.List", Json::object()).at("Volumes");
  if (json) {
    PrintJson(volumes);
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
    PrintJson(volume);
    return;
  }
  // The order in which people ask; what is not named here follows.
  std::vector<std::string> keys = {
      "name",        "role",           "created_at",     "source",       "source_at",
      "shows",       "history_from",   "history_to",     "history_size", "live_size",
      "live_inodes", "size",           "retention",      "keep",         "history_limit",
      "trash",       "points",         "pins",           "write_rate",   "fits",
      "pressure",    "rolled_back_to", "rolled_back_at", "mounted_by",   "mountpoint"};
  for (const auto& [key, value] : volume.items()) {
    if (std::find(keys.begin(), keys.end(), key) == keys.end()) keys.push_back(key);
  }
  PrintFields(volume, keys);
}

void NowCommand(const std::filesystem::path& socket, const std::string& name, bool json) {
  Json answer = Ask(socket, "Rewind.Now", {{"Name", name}});
  if (json) {
    std::cout << Json{{"instant", answer.at("Instant")}}.dump() << '\n';
  } else {
    std::cout << answer.at("Instant").get<std::string>() << '\n';
  }
}

void MetricsCommand(const std::filesystem::path& socket) {
  std::cout << Ask(socket, "Rewind.Metrics", Json::object()).at("Text").get<std::string>();
}

}  // namespace rw
