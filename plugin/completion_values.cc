#include "plugin/completion_values.h"

#include <algorithm>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string_view>

#include "plugin/client.h"
#include "plugin/options.h"

namespace rw {
namespace {

using Json = nlohmann::json;

constexpr int kMostSeconds = 600;
constexpr std::string_view kRetentionSettings[] = {"retention", "keep", "history-limit", "trash"};
constexpr std::string_view kOtherSettings[] = {"size", "mark-every", "mark-keep"};

template <typename List>
bool Contains(const List& list, std::string_view name) {
  return std::find(std::begin(list), std::end(list), name) != std::end(list);
}

}  // namespace

int CompletionSeconds() {
  const char* text = getenv("REWIND_COMPLETION_SECONDS");
  const int seconds = text == nullptr ? 0 : std::atoi(text);
  return seconds > 0 ? std::min(seconds, kMostSeconds) : 1;
}

Candidates VolumeCandidates(const std::filesystem::path& socket) {
  Candidates candidates;
  const Json answer = Ask(socket, "Rewind.List", Json::object(), CompletionSeconds());
  for (const Json& volume : answer.at("Volumes")) {
    std::string meaning = volume.at("role");
    if (volume.contains("source")) meaning += " of " + volume["source"].get<std::string>();
    candidates.push_back({volume.at("name"), meaning});
  }
  return candidates;
}

Candidates RemovedVolumeCandidates(const std::filesystem::path& socket) {
  Candidates candidates;
  const Json answer = Ask(socket, "Rewind.ListRemoved", Json::object(), CompletionSeconds());
  for (const Json& volume : answer.at("Volumes")) {
    candidates.push_back(
        {volume.at("name"), "removed " + volume.at("removed_at").get<std::string>()});
  }
  return candidates;
}

Candidates MarkCandidates(const std::filesystem::path& socket, const std::string& volume) {
  Candidates candidates;
  const Json answer = Ask(socket, "Rewind.Marks", {{"Name", volume}}, CompletionSeconds());
  for (const Json& mark : answer.at("Marks")) {
    std::string meaning = mark.at("at");
    const std::string note = mark.at("note");
    if (!note.empty()) meaning += " " + note;
    candidates.push_back({mark.at("label"), meaning});
  }
  std::reverse(candidates.begin(), candidates.end());
  return candidates;
}

Candidates VolumeOptionCandidates(const std::vector<std::string>& given) {
  Candidates candidates;
  for (const VolumeOption& option : VolumeOptions()) {
    if (Contains(given, option.name)) continue;
    candidates.push_back(
        {std::string(option.name) + (*option.argument != 0 ? "=" : ""), option.meaning});
  }
  return candidates;
}

Candidates SettingCandidates(bool retention_only, const std::vector<std::string>& given) {
  Candidates candidates;
  for (const Candidate& option : VolumeOptionCandidates(given)) {
    const std::string_view name = std::string_view(option.text).substr(0, option.text.find('='));
    const bool is_setting =
        Contains(kRetentionSettings, name) || (!retention_only && Contains(kOtherSettings, name));
    if (is_setting) candidates.push_back(option);
  }
  return candidates;
}

}  // namespace rw
