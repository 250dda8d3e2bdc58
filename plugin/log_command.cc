#include "plugin/log_command.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <iostream>
#include <nlohmann/json.hpp>
#include <thread>

#include "metadata/refused.h"
#include "metadata/time_text.h"
#include "plugin/client.h"
#include "plugin/container_names.h"
#include "plugin/facts.h"
#include "plugin/path_text.h"
#include "plugin/printing.h"

namespace rw {
namespace {

using Json = nlohmann::json;

constexpr auto kFollowPause = std::chrono::milliseconds(500);
constexpr size_t kBarWidth = 30;
constexpr size_t kShortIdDigits = 12;

std::string RangesText(const Json& ranges) {
  std::string text;
  for (const Json& range : ranges) {
    text += text.empty() ? "" : ", ";
    text += std::to_string(range.at(0).get<uint64_t>()) + "-" +
            std::to_string(range.at(1).get<uint64_t>());
  }
  return text;
}

std::string WhoText(const Json& line) {
  if (!line.contains("uid")) return "";
  std::string text = "uid " + ToText(line["uid"]);
  if (line.contains("command")) {
    text = Shown(ToText(line["command"])) + "[" + ToText(line["process"]) + "], " + text;
  } else if (line["pid"] != 0) {
    text = "pid " + ToText(line["pid"]) + ", " + text;
  } else {
    text = "the kernel or a hidden process, " + text;
  }
  if (line.contains("container")) {
    const std::string id = ToText(line["container"]).substr(0, kShortIdDigits);
    text += ", container " + (line.contains("container_name")
                                  ? Shown(ToText(line["container_name"])) + " (" + id + ")"
                                  : id);
  }
  return text;
}

void PrintLine(const Json& line) {
  std::string what = ToText(line.at("event"));
  what.resize(std::max<size_t>(what.size(), 11), ' ');
  std::string text = ToText(line.at("at")) + "  " + what;
  if (line.contains("path")) text += " " + Shown(ToText(line["path"]));
  if (line.contains("to")) text += " -> " + Shown(ToText(line["to"]));
  std::string facts;
  const auto add = [&facts](const std::string& fact) {
    facts += (facts.empty() ? "" : ", ") + fact;
  };
  if (line.contains("detail")) add(Shown(ToText(line["detail"])));
  if (line.at("count") != 1) add(ToText(line["count"]) + " times");
  if (line.contains("bytes")) add(HumanBytes(line["bytes"]));
  if (line.contains("ranges")) add("at " + RangesText(line["ranges"]));
  if (line.contains("size") && !line.contains("bytes")) add("size " + ToText(line["size"]));
  if (!facts.empty()) text += (line.contains("path") ? "  " : " ") + facts;
  if (const std::string who = WhoText(line); !who.empty()) text += "  (" + who + ")";
  std::cout << text << '\n';
}

Json Question(const std::string& name, const std::string& since, const std::string& until) {
  Json asked = {{"Name", name}};
  if (!since.empty()) asked["Since"] = since;
  if (!until.empty()) asked["Until"] = until;
  return asked;
}

std::string Bar(uint64_t value, uint64_t most) {
  if (value == 0) return "";
  const auto width = static_cast<size_t>(static_cast<double>(value) / static_cast<double>(most) *
                                         static_cast<double>(kBarWidth));
  return std::string(std::max<size_t>(1, width), '#');
}

void PrintTimeline(const Json& timeline) {
  uint64_t most_bytes = 1, most_operations = 1;
  for (const Json& bucket : timeline.at("buckets")) {
    most_bytes = std::max<uint64_t>(most_bytes, bucket.at("bytes"));
    most_operations = std::max<uint64_t>(most_operations, bucket.at("operations"));
  }
  std::vector<std::vector<std::string>> rows = {
      {"FROM", "ACTIVITY", "OPERATIONS", "WRITTEN", "REMOVED", "SYNCS", "ALSO"}};
  for (const Json& bucket : timeline["buckets"]) {
    // Whatever there was more of shows: many small operations, or few large ones.
    const std::string by_bytes = Bar(bucket["bytes"], most_bytes);
    const std::string by_operations = Bar(bucket["operations"], most_operations);
    rows.push_back({ToText(bucket["from"]), std::max(by_bytes, by_operations),
                    ToText(bucket["operations"]), HumanBytes(bucket["bytes"]),
                    ToText(bucket.at("removals")), ToText(bucket.at("syncs")),
                    Shown(ToText(bucket.at("notes")))});
  }
  PrintTable(rows);
  std::cout << "until " << ToText(timeline.at("until")) << '\n';
  if (timeline.at("restore_points").empty()) return;
  rows = {{"RESTORE TO", "WHICH IS"}};
  for (const Json& point : timeline["restore_points"])
    rows.push_back({ToText(point.at("at")), Shown(ToText(point.at("why")))});
  std::cout << '\n';
  PrintTable(rows);
}

}  // namespace

void LogCommand(const std::filesystem::path& socket, const LogRequest& request, bool json) {
  if (request.follow && !request.until.empty())
    throw Refused(EINVAL, "--follow goes on for ever: --until cannot be given with it");
  Json asked = Question(request.name, request.since, request.until);
  if (!request.path.empty()) asked["Path"] = TextOfArgument(request.path);
  ContainerNames names(request.engine_socket);
  for (bool first = true;; first = false) {
    Json answer = Ask(socket, "Rewind.Log", asked);
    if (answer.at("Gap")) {
      std::cerr << "rewind: history of " << request.name << " from " << ToText(answer.at("Begins"))
                << " on; what was before is not kept" << std::endl;
    }
    for (const Json& hole : answer.at("Holes")) {
      std::cerr << "rewind: what happened between " << ToText(hole.at(0)) << " and "
                << ToText(hole.at(1)) << " is damaged; rewind check tells more" << std::endl;
    }
    for (Json& line : answer.at("Lines")) {
      if (const auto id = line.find("container"); id != line.end()) {
        if (const auto name = names.Find(*id)) line["container_name"] = *name;
      }
      if (json) {
        std::cout << line.dump() << '\n';
      } else {
        PrintLine(line);
      }
    }
    std::cout.flush();
    if (!std::cout) return;  // nobody reads it any more
    const bool more = answer.at("More");
    if (!more && !request.follow) return;
    asked["Since"] = answer.at("Next");
    // What the first answer was about, not what the same words mean by now.
    if (first && !request.follow) asked["Until"] = answer.at("Until");
    asked["Further"] = true;
    asked["Writers"] = answer.at("Writers");
    if (!more) std::this_thread::sleep_for(kFollowPause);
  }
}

void TimelineCommand(const std::filesystem::path& socket, const TimelineRequest& request,
                     bool json) {
  Json asked = Question(request.name, request.since, request.until);
  asked["Buckets"] = request.buckets;
  const Json timeline = Ask(socket, "Rewind.Timeline", asked).at("Timeline");
  json ? PrintJson(timeline) : PrintTimeline(timeline);
}

}  // namespace rw
