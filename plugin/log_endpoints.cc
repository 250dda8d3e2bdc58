#include "plugin/log_endpoints.h"

#include <fnmatch.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <nlohmann/json.hpp>

#include "fs/event_log.h"
#include "fs/event_timeline.h"
#include "metadata/refused.h"
#include "metadata/time_text.h"
#include "plugin/path_text.h"
#include "plugin/request.h"
#include "plugin/volumes.h"

namespace rw {
namespace {

using Json = nlohmann::json;

// An answer is a page: so many lines, or what so much time has found. The first one is to come
// soon.
constexpr size_t kPageLines = 1000;
constexpr auto kFirstPageTime = std::chrono::milliseconds(80);
constexpr auto kPageTime = std::chrono::milliseconds(500);
constexpr size_t kEventsBetweenLooks = 64;  // at the time
constexpr size_t kMaxBuckets = 1000;

struct Range {
  Instant from, until = kInstantMax;
  bool given = false;  // the beginning was
};

Range RangeOf(Volumes& volumes, const Json& request) {
  const std::string name = Text(request, "Name");
  Range range;
  if (const auto since = OptionalText(request, "Since")) {
    range.from = volumes.InstantOf(name, *since);
    range.given = true;
  }
  if (const auto until = OptionalText(request, "Until"))
    range.until = volumes.InstantOf(name, *until);
  if (range.until < range.from) {
    throw Refused(EINVAL, "the time until " + FormatInstant(range.until) +
                              " is before the time since " + FormatInstant(range.from));
  }
  return range;
}

bool Matches(const std::string& glob, const std::string& path) {
  if (path.empty()) return false;
  if (fnmatch(glob.c_str(), path.c_str(), 0) == 0) return true;
  // What lies in a directory that is named.
  return fnmatch((glob.ends_with('/') ? glob + "*" : glob + "/*").c_str(), path.c_str(), 0) == 0;
}

Json LineFacts(const LogLine& line) {
  Json json = {{"at", FormatInstant(line.at)}, {"event", line.event}, {"count", line.count}};
  if (line.until != line.at) json["until"] = FormatInstant(line.until);
  if (!line.path.empty()) json["path"] = TextOfPath(line.path);
  if (!line.to.empty()) json["to"] = TextOfPath(line.to);
  if (!line.detail.empty()) json["detail"] = TextOfPath(line.detail);
  if (line.bytes > 0) json["bytes"] = line.bytes;
  if (line.has_size) json["size"] = line.size;
  for (const auto& [from, to] : line.ranges) json["ranges"].push_back({from, to});
  if (line.by_somebody) {
    json["uid"] = line.uid;
    json["pid"] = line.pid;
  }
  if (line.writer) {
    const Writer& writer = *line.writer;
    json["process"] = writer.process;
    json["command"] = TextOfPath(writer.command);
    json["started_at"] = FormatInstant(Instant{writer.started_seconds * 1'000'000'000});
    if (!writer.container.empty()) json["container"] = writer.container;
  }
  return json;
}

Json ToJson(const Writer& writer) {
  return {{"Thread", writer.thread},
          {"Process", writer.process},
          {"Started", writer.started_seconds},
          {"Command", TextOfPath(writer.command)},
          {"Container", writer.container}};
}

std::shared_ptr<const Writer> WriterOf(const Json& json) {
  try {
    return std::make_shared<Writer>(
        Writer{json.at("Thread"), json.at("Process"), json.at("Started"),
               PathOfText(json.at("Command").get<std::string>()), json.at("Container")});
  } catch (const Json::exception&) {
    throw Refused(EINVAL, "Writers is to be what an earlier answer said");
  }
}

// Answers with lines, and where the next page begins; `More`: there is one already.
Json Log(Volumes& volumes, const Json& request) {
  const std::string name = Text(request, "Name");
  const std::string glob = PathOfText(OptionalText(request, "Path").value_or(""));
  const auto time = Flag(request, "Further") ? kPageTime : kFirstPageTime;
  const Range range = RangeOf(volumes, request);
  const auto begun = std::chrono::steady_clock::now();
  Json lines = Json::array();
  EventLog log(&volumes.store(), name, [&](const LogLine& line) {
    if (glob.empty() || Matches(glob, line.path) || Matches(glob, line.to))
      lines.push_back(LineFacts(line));
  });
  EventQuery query;
  query.from = range.from;
  query.until = range.until;
  Instant created;
  query.begin = [&](const EventsBegin& begin) {
    log.Begin(begin);
    created = begin.created;
  };
  // Of a page before this one, the command brings along who the writers are.
  if (request.contains("Writers")) {
    for (const Json& writer : request.at("Writers")) log.Know(WriterOf(writer));
  } else {
    query.writer = [&log](const std::shared_ptr<const Writer>& writer) { log.Know(writer); };
  }
  Instant last;
  size_t events = 0;
  const EventsRead read = volumes.store().ReadEvents(name, query, [&](const Event& event) {
    log.Add(event);
    last = event.at;
    const bool full = glob.empty() ? log.lines() >= kPageLines : lines.size() >= kPageLines;
    return !full &&
           (++events % kEventsBetweenLooks != 0 || std::chrono::steady_clock::now() - begun < time);
  });
  const Instant end = read.ended ? last : read.until;
  log.End(end);
  Json answer = {{"Lines", lines},
                 {"Begins", FormatInstant(read.begins)},
                 {"Gap", range.given && read.begins > std::max(range.from, created)},
                 {"Next", FormatInstant(Instant{end.ns + 1})},
                 {"Until", FormatInstant(read.until)},
                 {"More", read.ended && end < read.until},
                 {"Writers", Json::array()},
                 {"Holes", Json::array()}};
  for (const auto& writer : log.LastWriters()) answer["Writers"].push_back(ToJson(*writer));
  for (const EventsRead::Hole& hole : read.holes)
    answer["Holes"].push_back({FormatInstant(hole.after), FormatInstant(hole.before)});
  return answer;
}

Json BucketFacts(const ActivityBucket& bucket) {
  Json notes = bucket.notes;
  if (bucket.more_notes > 0) notes.push_back("and " + std::to_string(bucket.more_notes) + " more");
  return {{"from", FormatInstant(bucket.from)},
          {"operations", bucket.operations},
          {"bytes", bucket.bytes},
          {"creates", bucket.creates},
          {"removals", bucket.removals},
          {"syncs", bucket.syncs},
          {"notes", notes}};
}

Json Timeline(Volumes& volumes, const Json& request) {
  const Range range = RangeOf(volumes, request);
  size_t buckets = 24;
  if (request.contains("Buckets")) {
    const Json& wanted = request["Buckets"];
    if (!wanted.is_number_unsigned() || wanted == 0 || wanted > kMaxBuckets)
      throw Refused(EINVAL, "Buckets is to be a number from 1 to 1000");
    buckets = wanted;
  }
  EventTimeline timeline(range.from, range.until, buckets);
  EventQuery query;
  query.from = range.from;
  query.until = range.until;
  query.begin = [&timeline](const EventsBegin& begin) { timeline.Begin(begin); };
  const EventsRead read =
      volumes.store().ReadEvents(Text(request, "Name"), query, [&timeline](const Event& event) {
        timeline.Add(event);
        return true;
      });
  timeline.End();
  Json answer = {{"from", FormatInstant(timeline.from())},
                 {"until", FormatInstant(timeline.until())},
                 {"history_from", FormatInstant(read.begins)},
                 {"buckets", Json::array()},
                 {"restore_points", Json::array()}};
  for (const ActivityBucket& bucket : timeline.buckets())
    answer["buckets"].push_back(BucketFacts(bucket));
  for (const RestorePoint& point : timeline.restore_points())
    answer["restore_points"].push_back({{"at", FormatInstant(point.at)}, {"why", point.why}});
  return {{"Timeline", answer}};
}

}  // namespace

const std::map<std::string, Handler>& LogHandlers() {
  static const auto* const handlers = new std::map<std::string, Handler>{
      {"Rewind.Log", Log},
      {"Rewind.Timeline", Timeline},
  };
  return *handlers;
}

}  // namespace rw
