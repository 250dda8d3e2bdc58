#include "plugin/past_endpoints.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <nlohmann/json.hpp>

#include "fs/deleted.h"
#include "fs/past.h"
#include "fs/past_read.h"
#include "fs/path_history.h"
#include "fs/tree_diff.h"
#include "metadata/quoted.h"
#include "metadata/refused.h"
#include "metadata/similar.h"
#include "metadata/time_text.h"
#include "plugin/base64.h"
#include "plugin/path_text.h"
#include "plugin/request.h"
#include "plugin/volumes.h"

namespace rw {
namespace {

using Json = nlohmann::json;

constexpr size_t kReadBytes = 1 << 20;
constexpr size_t kMaxTextBytes = 64 << 10;
constexpr uint64_t kMaxChanges = 1024;
constexpr uint64_t kFirstStates = 10'000;  // the first line is to come soon
constexpr size_t kNamesToCompare = 4096;
constexpr size_t kDifferencesAtOnce = 4096;

uint64_t Number(const Json& request, const char* key, uint64_t absent) {
  const auto found = request.find(key);
  if (found == request.end()) return absent;
  if (!found->is_number_unsigned())
    throw Refused(EINVAL, std::string(key) + " must be a whole number");
  return found->get<uint64_t>();
}

// Names of the path that is asked for.
std::vector<std::string> PathIn(const Json& request) {
  return SplitPath(PathOfText(Text(request, "Path")));
}

// A time of the volume; now if it is absent.
Instant Time(Volumes& volumes, const Json& request, const char* key) {
  const std::string name = Text(request, "Name");
  const auto text = OptionalText(request, key);
  return text ? volumes.InstantOf(name, *text) : volumes.Now(name);
}

// Names beside the path that resemble its last one.
std::string Similar(const Past& past, std::vector<std::string> path) {
  const auto last = past.LastReadable(past.now());
  if (!last || path.empty()) return "";
  const std::string name = path.back();
  path.pop_back();
  const Past::Found parent = past.Find(past.SpanAt(*last), path, *last);
  if (parent.ino == 0 || parent.type != S_IFDIR) return "";
  std::vector<std::string> names;
  for (const ViewName& found :
       past.ViewAt(*last).ListNames(parent.ino, kFirstCookie, kNamesToCompare))
    names.push_back(found.name);
  std::string similar;
  for (const std::string& found : MostSimilar(name, names)) {
    path.push_back(found);
    similar += (similar.empty() ? "; there is " : ", ") + Quoted(JoinPath(path));
    path.pop_back();
  }
  return similar;
}

[[noreturn]] void RefuseNever(const Past& past, const std::vector<std::string>& path) {
  const auto first = past.FirstReadable(Instant{});
  throw Refused(
      ENOENT, Quoted(JoinPath(path)) + " was never in " + past.name() + ", as far back as is kept" +
                  (first ? " (" + FormatInstant(*first) + ")" : "") + Similar(past, path));
}

InodeAttr FindFileOrHelp(Volumes& volumes, Volume& view, const std::string& name,
                         const std::vector<std::string>& path, Instant at) {
  try {
    return FindFile(view, path);
  } catch (const Refused& refused) {
    if (refused.error() != ENOENT) throw;
    const auto past = volumes.store().OpenPast(name);
    const auto when = WhenItWas(*past, path, at);
    throw Refused(ENOENT, refused.what() + (when ? "; " + *when : Similar(*past, path)));
  }
}

// A part of a file. An answer says the instant in a way that means the same again.
Json Read(Volumes& volumes, const Json& request) {
  const auto path = PathIn(request);
  const uint64_t offset = Number(request, "Offset", 0);
  const std::string name = Text(request, "Name");
  const Instant at = Time(volumes, request, "At");
  const auto view = volumes.store().OpenAt(name, at);
  const InodeAttr file = FindFileOrHelp(volumes, *view, name, path, at);
  std::string bytes(
      offset < file.inode.size ? std::min<uint64_t>(kReadBytes, file.inode.size - offset) : 0,
      '\0');
  bytes.resize(view->Read(file.ino, offset, bytes));
  return {{"At", FormatInstant(at)},
          {"Size", file.inode.size},
          {"Mode", file.inode.mode & 07777},
          {"Data", EncodeBase64(bytes)}};
}

Json ChangeFacts(const PathChange& change) {
  const PathState& state = change.state;
  Json facts = {{"at", FormatInstant(state.from)},
                {"first", FormatInstant(change.first)},
                {"count", change.count},
                {"read_at", FormatInstant(change.readable)},
                {"last", FormatInstant(state.last)},
                {"present", state.present()},
                {"what", change.what}};
  if (state.present()) {
    facts["inode"] = state.ino;
    facts["type"] = TypeName(state.inode.mode);
    facts["mode"] = state.inode.mode & 07777;
    facts["uid"] = state.inode.uid;
    facts["gid"] = state.inode.gid;
    facts["size"] = state.inode.size;
  }
  if (!change.renamed_from.empty()) facts["renamed_from"] = TextOfPath(change.renamed_from);
  if (!change.renamed_to.empty()) facts["renamed_to"] = TextOfPath(change.renamed_to);
  return facts;
}

Json ListChanges(Volumes& volumes, const Json& request) {
  const std::string name = Text(request, "Name");
  const auto path = PathIn(request);
  PathHistoryQuery query;
  if (OptionalText(request, "Since")) query.since = Time(volumes, request, "Since");
  if (OptionalText(request, "Until")) query.until = Time(volumes, request, "Until");
  query.each = Flag(request, "Each");
  query.limit = std::clamp<uint64_t>(Number(request, "Limit", 256), 1, kMaxChanges);
  const auto next = OptionalText(request, "Next");
  if (next) query.until = ParseTime(*next, Instant{});
  if (!next) query.max_states = kFirstStates;
  const auto past = volumes.store().OpenPast(name);
  const PathHistory history = ReadPathHistory(*past, path, query);
  if (!next && !history.ever && !history.next) {
    query = {};
    query.limit = 1;
    if (!ReadPathHistory(*past, path, query).ever) RefuseNever(*past, path);
  }
  Json answer = {{"Changes", Json::array()}};
  for (const PathChange& change : history.changes) answer["Changes"].push_back(ChangeFacts(change));
  if (history.next) answer["Next"] = FormatInstant(*history.next);
  return answer;
}

// Whether the file holds a text at a time, and since when it has been what it is then.
Json FindText(Volumes& volumes, const Json& request) {
  const std::string name = Text(request, "Name");
  const std::string text = DecodeBase64(Text(request, "Bytes"));
  const auto path = PathIn(request);
  if (text.empty() || text.size() > kMaxTextBytes)
    throw Refused(EINVAL, "the text to look for must have 1 to 65536 bytes");
  const auto past = volumes.store().OpenPast(name);
  const Instant at = Time(volumes, request, "At");
  const auto state = PathWalk(*past, path, at).Next();
  if (!state) return {{"Kept", false}};
  Json answer = {{"Kept", true},
                 {"From", FormatInstant(state->from)},
                 {"At", FormatInstant(state->last)},
                 {"Present", state->present()},
                 {"Contains", false}};
  if (!state->present()) return answer;
  const InodeAttr found{state->ino, state->inode};
  if (found.inode.is_dir())
    throw Refused(EISDIR, Quoted(JoinPath(path)) + " is a directory; a file is needed");
  if (found.inode.is_regular()) {
    const auto view = volumes.store().OpenAt(name, state->last);
    answer["Contains"] = Contains(*view, found, text);
  }
  return answer;
}

// "Next" of an answer is what the next request says.
Json ListDeleted(Volumes& volumes, const Json& request) {
  DeletedQuery query;
  if (OptionalText(request, "Since")) query.since = Time(volumes, request, "Since");
  if (const auto next = request.find("Next"); next != request.end()) {
    query.span = Number(*next, "Span", 0);
    query.link = Number(*next, "Link", 0);
    query.from = DecodeBase64(Text(*next, "From"));
  }
  const auto past = volumes.store().OpenPast(Text(request, "Name"));
  const DeletedPage page = FindDeleted(*past, query);
  Json answer = {{"Paths", Json::array()}, {"Since", FormatInstant(query.since)}};
  for (const DeletedPath& deleted : page.paths) {
    answer["Paths"].push_back({{"path", TextOfPath(deleted.path)},
                               {"gone", FormatInstant(deleted.gone)},
                               {"last", FormatInstant(deleted.state.last)},
                               {"type", TypeName(deleted.state.inode.mode)},
                               {"size", deleted.state.inode.size},
                               {"by", deleted.rolled_back ? "rollback" : "removal"}});
  }
  if (page.next) {
    answer["Next"] = {{"Span", page.next->span},
                      {"Link", page.next->link},
                      {"From", EncodeBase64(page.next->from)}};
  }
  return answer;
}

bool IsBelow(const std::string& path, const std::string& directory) {
  if (path.empty()) return false;
  return directory == "/" || path == directory || path.starts_with(directory + "/");
}

Json DifferenceFacts(const TreeChange& change) {
  Json facts = {{"change", TreeChangeName(change.kind)}, {"path", TextOfPath(change.path)}};
  const Inode& inode = change.after ? *change.after : change.before.value_or(Inode{});
  facts["type"] = TypeName(inode.mode);
  if (change.before) facts["size_before"] = change.before->size;
  if (change.after) facts["size_after"] = change.after->size;
  if (!change.old_path.empty()) facts["old_path"] = TextOfPath(change.old_path);
  if (!change.what.empty()) facts["what"] = change.what;
  return facts;
}

Json Diff(Volumes& volumes, const Json& request) {
  const std::string name = Text(request, "Name");
  const auto path = SplitPath(PathOfText(OptionalText(request, "Path").value_or("/")));
  const std::string below = JoinPath(path);
  const Instant from = Time(volumes, request, "From");
  const Instant to = Time(volumes, request, "To");
  const size_t skip = Number(request, "Skip", 0);
  // Open, so that both stay; and refused if one is not kept.
  const auto before = volumes.store().OpenAt(name, from);
  const auto after = volumes.store().OpenAt(name, to);
  const auto past = volumes.store().OpenPast(name);
  const TreeDiff diff =
      CompareInstants(volumes.store(), *past, before->fixed_at(), after->fixed_at());
  Json answer = {{"From", FormatInstant(from)},
                 {"To", FormatInstant(to)},
                 {"ByEvents", diff.by_events},
                 {"Differences", Json::array()}};
  size_t seen = 0;
  const auto shows_path = [&](Instant at) {
    return past->Find(past->SpanAt(at), path, at).ino != 0;
  };
  for (const TreeChange& change : diff.changes) {
    if (!IsBelow(change.path, below) && !IsBelow(change.old_path, below)) continue;
    if (++seen <= skip) continue;
    if (answer["Differences"].size() == kDifferencesAtOnce) {
      answer["Next"] = skip + kDifferencesAtOnce;
      break;
    }
    answer["Differences"].push_back(DifferenceFacts(change));
  }
  if (seen == 0 && !shows_path(before->fixed_at()) && !shows_path(after->fixed_at())) {
    const auto when = WhenItWas(*past, path, after->fixed_at());
    if (!when) RefuseNever(*past, path);
    throw Refused(ENOENT, Quoted(below) + " was in " + name + " at neither time; " + *when);
  }
  return answer;
}

}  // namespace

const std::map<std::string, Handler>& PastHandlers() {
  static const auto* const handlers = new std::map<std::string, Handler>{
      {"Rewind.Read", Read},         {"Rewind.ListChanges", ListChanges},
      {"Rewind.FindText", FindText}, {"Rewind.ListDeleted", ListDeleted},
      {"Rewind.Diff", Diff},
  };
  return *handlers;
}

}  // namespace rw
