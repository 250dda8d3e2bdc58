#include "plugin/past_commands.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>

#include "metadata/refused.h"
#include "metadata/time_text.h"
#include "plugin/base64.h"
#include "plugin/client.h"
#include "plugin/facts.h"
#include "plugin/output_file.h"
#include "plugin/path_text.h"
#include "plugin/printing.h"
#include "plugin/text_diff.h"

namespace rw {
namespace {

using Json = nlohmann::json;

constexpr uint64_t kChangesAtOnce = 256;
// A file with no more versions than that is looked at in each.
constexpr size_t kFewVersions = 256;
constexpr uint64_t kFewBytes = 512 << 20;
// Of others, so many instants, and then what lies between two that differ.
constexpr uint64_t kSamples = 64;
// Of larger files it is only said that they differ.
constexpr uint64_t kMaxPatchBytes = 4 << 20;

// Calls back for each change of the path, the newest first, until it says no.
template <typename Fn>
void ForEachChange(const std::filesystem::path& socket, Json request, Fn fn) {
  for (;;) {
    const Json answer = Ask(socket, "Rewind.ListChanges", request);
    for (const Json& change : answer.at("Changes")) {
      if (!fn(change)) return;
    }
    std::cout << std::flush;  // the next answer may take a moment
    if (!answer.contains("Next")) return;
    request["Next"] = answer["Next"];
  }
}

std::string WhatText(const Json& change) {
  std::string what = ToText(change.at("what"));
  if (change.contains("renamed_from"))
    what += " from \"" + Shown(ToText(change["renamed_from"])) + "\"";
  if (change.contains("renamed_to")) what += " to \"" + Shown(ToText(change["renamed_to"])) + "\"";
  const uint64_t count = change.at("count");
  if (count > 1) {
    what += " " + std::to_string(count) + " times since " + ToText(change.at("first"));
  }
  if (change.at("present") && change.at("read_at") != change.at("at"))
    what += "; can be read at " + ToText(change.at("read_at"));
  return what;
}

}  // namespace

namespace {

// For a shell.
std::string ShellQuoted(const std::string& text) {
  const bool plain = !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return isalnum(static_cast<unsigned char>(c)) != 0 ||
           std::string_view("/._-+=:,@%").find(c) != std::string_view::npos;
  });
  if (plain) return text;
  std::string quoted = "'";
  for (const char c : text) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted + "'";
}

// What a file held; nothing if it is too large.
std::optional<std::string> ReadSmall(const std::filesystem::path& socket, const std::string& name,
                                     const std::string& path, const std::string& at) {
  std::string bytes;
  for (;;) {
    const Json answer = Ask(socket, "Rewind.Read",
                            {{"Name", name}, {"Path", path}, {"At", at}, {"Offset", bytes.size()}});
    if (answer.at("Size").get<uint64_t>() > kMaxPatchBytes) return std::nullopt;
    const std::string part = DecodeBase64(answer.at("Data").get<std::string>());
    bytes += part;
    if (part.empty() || bytes.size() >= answer.at("Size").get<uint64_t>()) return bytes;
  }
}

std::string Patch(const std::filesystem::path& socket, const std::string& name, const Json& change,
                  const std::string& from, const std::string& to) {
  const std::string path = change.at("path");
  const std::string kind = change.at("change");
  const std::string old_path = change.value("old_path", path);
  const std::string shown = Shown(path), old_shown = Shown(old_path);
  std::optional<std::string> before = "", after = "";
  if (kind != "added") before = ReadSmall(socket, name, old_path, from);
  if (kind != "removed") after = ReadSmall(socket, name, path, to);
  if (!before || !after) return "files at \"" + shown + "\" are too large to compare\n";
  if (!IsText(*before) || !IsText(*after))
    return *before == *after ? "" : "binary files at \"" + shown + "\" differ\n";
  return UnifiedDiff(*before, *after, kind == "added" ? "/dev/null" : "a" + old_shown + "\t" + from,
                     kind == "removed" ? "/dev/null" : "b" + shown + "\t" + to);
}

std::string DifferenceText(const Json& change) {
  const std::string kind = change.at("change");
  std::string text = kind == "added"     ? "A  "
                     : kind == "removed" ? "D  "
                     : kind == "renamed" ? "R  "
                                         : "M  ";
  if (change.contains("old_path")) text += Shown(ToText(change["old_path"])) + " -> ";
  text += Shown(ToText(change.at("path")));
  if (change.at("type") == "directory") text += "/";
  if (change.contains("what")) text += "  (" + ToText(change["what"]) + ")";
  return text;
}

}  // namespace

void CatCommand(const std::filesystem::path& socket, const PastRequest& request) {
  Json asked = {{"Name", request.name}, {"Path", TextOfArgument(request.path)}, {"Offset", 0}};
  if (!request.at.empty()) asked["At"] = request.at;
  std::optional<OutputFile> file;
  for (uint64_t offset = 0;;) {
    const Json answer = Ask(socket, "Rewind.Read", asked);
    const std::string bytes = DecodeBase64(answer.at("Data").get<std::string>());
    if (!file) file.emplace(request.output);
    file->Write(bytes);
    offset += bytes.size();
    if (offset >= answer.at("Size").get<uint64_t>() || bytes.empty()) break;
    asked["At"] = answer.at("At");
    asked["Offset"] = offset;
  }
  file->Keep();
}

void HistoryCommand(const std::filesystem::path& socket, const PastRequest& request) {
  Json asked = {
      {"Name", request.name},
      {"Path", TextOfArgument(request.path)},
      {"Each", request.each},
      {"Limit", request.limit == 0 ? kChangesAtOnce : std::min(request.limit + 1, kChangesAtOnce)}};
  if (!request.since.empty()) asked["Since"] = request.since;
  if (!request.until.empty()) asked["Until"] = request.until;
  uint64_t lines = 0;
  std::string more;
  ForEachChange(socket, asked, [&](const Json& change) {
    if (request.limit != 0 && lines == request.limit) {
      more = ToText(change.at("at"));
      return false;
    }
    if (request.json) {
      std::cout << change.dump() << '\n';
    } else {
      if (lines == 0) std::cout << "AT                              SIZE      WHAT\n";
      const bool sized = change.at("present") && change.at("type") != "directory";
      const std::string size = sized ? HumanBytes(change.at("size").get<uint64_t>()) : "-";
      std::cout << ToText(change.at("at")) << "  "
                << size + std::string(size.size() < 8 ? 8 - size.size() : 0, ' ') << "  "
                << WhatText(change) << '\n';
    }
    ++lines;
    return true;
  });
  if (lines == 0 && !request.json) std::cout << "no changes of it then\n";
  std::cout << std::flush;
  if (!more.empty() && !request.json) {
    std::cerr << "there is more: --until " << more << " goes on, --limit 0 prints all\n";
  }
}

namespace {

// What a file was at an instant: since when, and whether it held the text.
struct Look {
  Instant from, at;
  bool present = false, contains = false;
};

class TextSearch {
 public:
  TextSearch(std::filesystem::path socket, const PastRequest& request)
      : socket_(std::move(socket)), request_(request), path_(TextOfArgument(request.path)) {}

  Json Search() {
    const bool few = LookAtEach();
    if (!few) Sample();
    Json turns = Json::array();
    for (auto look = looks_.begin(); look != looks_.end(); ++look) {
      const bool first = look == looks_.begin();
      if (first || look->second.contains == std::prev(look)->second.contains) continue;
      const Look& before = std::prev(look)->second;
      turns.push_back({{"at", FormatInstant(look->second.from)},
                       {"what", look->second.contains ? "appeared" : "vanished"},
                       {"before", FormatInstant(before.at)},
                       {"present", look->second.present}});
    }
    const Look& oldest = looks_.begin()->second;
    const Look& newest = looks_.rbegin()->second;
    return {{"changes", turns},
            {"exact", few},
            {"looked_at", asked_},
            {"oldest", {{"at", FormatInstant(oldest.at)}, {"contains", oldest.contains}}},
            {"newest", {{"at", FormatInstant(newest.at)}, {"contains", newest.contains}}}};
  }

 private:
  // The state that the instant lies in; nothing if none at or before it is kept.
  std::optional<Look> LookAt(const std::string& at) {
    const Json answer = Ask(socket_, "Rewind.FindText",
                            {{"Name", request_.name},
                             {"Path", path_},
                             {"At", at},
                             {"Bytes", EncodeBase64(request_.text)}});
    ++asked_;
    if (!answer.at("Kept")) return std::nullopt;
    return Look{ParseTime(answer.at("From").get<std::string>(), {}),
                ParseTime(answer.at("At").get<std::string>(), {}), answer.at("Present"),
                answer.at("Contains")};
  }

  Look Keep(const Look& look) { return looks_.emplace(look.at, look).first->second; }

  // False if there are too many versions.
  bool LookAtEach() {
    std::vector<std::string> instants;
    uint64_t bytes = 0;
    Json asked = {
        {"Name", request_.name}, {"Path", path_}, {"Each", true}, {"Limit", kChangesAtOnce}};
    if (!request_.since.empty()) asked["Since"] = request_.since;
    if (!request_.until.empty()) asked["Until"] = request_.until;
    std::string oldest;
    ForEachChange(socket_, asked, [&](const Json& change) {
      const std::string last = change.at("last");
      if (newest_.empty()) newest_ = last;
      instants.push_back(last);
      bytes += change.value("size", uint64_t{0});
      oldest = change.at("at");
      return instants.size() <= kFewVersions && bytes <= kFewBytes;
    });
    if (instants.size() > kFewVersions || bytes > kFewBytes) return false;
    if (instants.empty()) {
      instants.push_back(request_.until.empty() ? "now" : request_.until);
    } else {
      // What there was before the oldest change that is told, if anything is kept.
      instants.push_back(FormatInstant(Before(ParseTime(oldest, {}))));
    }
    for (const std::string& at : instants) {
      if (const auto look = LookAt(at)) Keep(*look);
    }
    if (looks_.empty()) throw Refused(ERANGE, "nothing is kept of that time");
    return true;
  }

  void Sample() {
    const std::string until = request_.until.empty() ? newest_ : request_.until;
    const auto last = LookAt(until);
    if (!last) throw Refused(ERANGE, "nothing is kept of that time");
    Keep(*last);
    const std::string since = request_.since.empty()
                                  ? Ask(socket_, "Rewind.Inspect", {{"Name", request_.name}})
                                        .at("Volume")
                                        .at("history_from")
                                        .get<std::string>()
                                  : request_.since;
    const auto first = LookAt(since);
    if (first) Keep(*first);
    const Instant from = looks_.begin()->first;
    const Instant to = last->at;
    for (uint64_t i = 1; i < kSamples; ++i) {
      const Instant at{from.ns + (to.ns - from.ns) / kSamples * i};
      if (const auto look = LookAt(FormatInstant(at))) Keep(*look);
    }
    for (auto look = looks_.begin(); std::next(look) != looks_.end();) {
      const auto next = std::next(look);
      if (look->second.contains != next->second.contains) Bisect(look->second, next->second);
      look = next;
    }
  }

  // Until the states before and after the turn are neighbours.
  void Bisect(Look before, Look after) {
    while (before.at < Before(after.from)) {
      const Instant top = Before(after.from);
      const Instant middle{before.at.ns + (top.ns - before.at.ns + 1) / 2};
      const auto look = LookAt(FormatInstant(middle));
      if (!look || look->at <= before.at) {
        // Nothing between the two is kept up to here.
        before.at = middle;
        continue;
      }
      (look->contains == after.contains ? after : before) = *look;
      Keep(*look);
    }
  }

  const std::filesystem::path socket_;
  const PastRequest& request_;
  const std::string path_;
  std::map<Instant, Look> looks_;
  std::string newest_;
  uint64_t asked_ = 0;
};

}  // namespace

void GrepTimeCommand(const std::filesystem::path& socket, const PastRequest& request) {
  const Json found = TextSearch(socket, request).Search();
  if (request.json) {
    PrintJson(found);
    return;
  }
  std::vector<std::vector<std::string>> rows;
  for (const Json& turn : found.at("changes")) {
    std::string what = ToText(turn.at("what"));
    if (turn.at("what") == "vanished" && !turn.at("present")) what += " with the file";
    rows.push_back({ToText(turn.at("at")), what, "before it: --at " + ToText(turn.at("before"))});
  }
  PrintTable(rows);
  const bool there = found.at("newest").at("contains");
  if (rows.empty()) {
    std::cout << "the text is " << (there ? "in the file at every instant" : "nowhere")
              << " looked at, from " << ToText(found.at("oldest").at("at")) << " to "
              << ToText(found.at("newest").at("at")) << '\n';
  }
  std::cout << std::flush;
  if (!found.at("exact")) {
    std::cerr << "the file has too many versions to look at each: " << found.at("looked_at")
              << " instants were looked at and what lies between two that differ bisected, which "
                 "misses what came and went between two of them; --since and --until narrow it\n";
  }
}

void FindCommand(const std::filesystem::path& socket, const PastRequest& request) {
  Json asked = {{"Name", request.name}};
  if (!request.since.empty()) asked["Since"] = request.since;
  std::map<std::string, Json> found;
  for (;;) {
    const Json answer = Ask(socket, "Rewind.ListDeleted", asked);
    for (const Json& path : answer.at("Paths")) found.emplace(path.at("path"), path);
    if (!answer.contains("Next")) break;
    asked["Since"] = answer.at("Since");
    asked["Next"] = answer["Next"];
  }
  std::vector<Json> sorted;
  sorted.reserve(found.size());
  for (auto& [path, deleted] : found) sorted.push_back(std::move(deleted));
  std::stable_sort(sorted.begin(), sorted.end(), [](const Json& a, const Json& b) {
    return a.at("gone").get_ref<const std::string&>() > b.at("gone").get_ref<const std::string&>();
  });
  const size_t all = sorted.size();
  if (request.limit != 0 && all > request.limit) sorted.resize(request.limit);
  if (request.json) {
    for (const Json& deleted : sorted) std::cout << deleted.dump() << '\n';
    return;
  }
  std::vector<std::vector<std::string>> rows = {{"GONE SINCE", "SIZE", "PATH"}};
  for (const Json& deleted : sorted) {
    const bool directory = deleted.at("type") == "directory";
    rows.push_back({ToText(deleted.at("gone")),
                    directory ? "-" : HumanBytes(deleted.at("size").get<uint64_t>()),
                    Shown(ToText(deleted.at("path"))) + (directory ? "/" : "") +
                        (deleted.at("by") == "rollback" ? "  (by a rollback)" : "")});
  }
  if (sorted.empty()) {
    std::cout << "nothing that was removed can still be read\n";
    return;
  }
  PrintTable(rows);
  std::cout << std::flush;
  const auto file = std::find_if(sorted.begin(), sorted.end(),
                                 [](const Json& deleted) { return deleted.at("type") == "file"; });
  if (all > sorted.size()) {
    std::cerr << "and " << all - sorted.size() << " more: --limit 0 prints all\n";
  }
  if (file != sorted.end()) {
    std::cerr << "to read one: rewind cat " << ShellQuoted(request.name) << ' '
              << ShellQuoted(Shown(ToText(file->at("path")))) << " --at "
              << ToText(file->at("last")) << '\n';
  }
}

void DiffCommand(const std::filesystem::path& socket, const PastRequest& request) {
  std::vector<std::string> times = request.times;
  Json asked = {{"Name", request.name}};
  if (!request.path.empty()) {
    asked["Path"] = TextOfArgument(request.path);
  } else if (times.back().starts_with('/')) {
    asked["Path"] = TextOfArgument(times.back());
    times.pop_back();
  }
  if (times.empty() || times.size() > 2)
    throw Refused(EINVAL, "rewind diff takes NAME, one time or two, and then perhaps a /path");
  asked["From"] = times[0];
  if (times.size() == 2) asked["To"] = times[1];
  const bool terminal = isatty(STDOUT_FILENO) != 0;
  uint64_t lines = 0;
  for (;;) {
    const Json answer = Ask(socket, "Rewind.Diff", asked);
    asked["From"] = answer.at("From");
    asked["To"] = answer.at("To");
    for (const Json& change : answer.at("Differences")) {
      ++lines;
      std::cout << (request.json ? change.dump() : DifferenceText(change)) << '\n';
      if (!request.patch || request.json || change.at("type") != "file") continue;
      const std::string patch =
          Patch(socket, request.name, change, answer.at("From"), answer.at("To"));
      std::cout << (terminal ? ShownLines(patch) : patch);
    }
    if (!answer.contains("Next")) break;
    asked["Skip"] = answer["Next"];
  }
  if (lines == 0 && !request.json) std::cout << "nothing differs\n";
}

}  // namespace rw
