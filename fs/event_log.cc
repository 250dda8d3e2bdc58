#include "fs/event_log.h"

#include <sys/stat.h>

#include <algorithm>

#include "metadata/time_text.h"

namespace rw {
namespace {

constexpr uint64_t kGroupNs = 1'000'000'000;
constexpr size_t kMaxGroups = 10'000;  // that wait for one before them
constexpr size_t kMaxRanges = 8;

bool Truncates(const Event& event, const Inode& inode) {
  const bool cut = !inode.cuts.empty() && inode.cuts.back().at == event.at;
  return inode.is_regular() && (cut || event.body.offset != 0);
}

// What one operation did to one file, of those kinds that come many at a time.
std::string NameOfChange(const Event& event) {
  const Mutations& mutations = event.body.mutations;
  switch (event.type) {
    case RecordType::kWrite:
      return "write";
    case RecordType::kFallocate:
      return mutations.chunks.empty() ? "allocate" : "zero";
    case RecordType::kCopyRange:
      return "copy";
    case RecordType::kSetXattr:
      return "setxattr";
    case RecordType::kRemoveXattr:
      return "removexattr";
    case RecordType::kSetAttr:
      if (!mutations.inodes.empty() && mutations.inodes.front().inode &&
          Truncates(event, *mutations.inodes.front().inode))
        return "truncate";
      return "attributes";
    default:
      return {};
  }
}

}  // namespace

void EventLog::Begin(const EventsBegin& begin) {
  for (const Mark& mark : begin.marks) {
    LogLine line;
    line.at = line.until = mark.made;
    line.event = "mark";
    line.detail = mark.label;
    if (mark.at != mark.made) line.detail += " of " + FormatInstant(mark.at);
    if (!mark.note.empty()) line.detail += ": " + mark.note;
    others_.push_back(std::move(line));
  }
  for (const EventsBegin::Rollback& rollback : begin.rollbacks) {
    LogLine line;
    line.at = line.until = rollback.at;
    line.event = "rollback";
    if (rollback.to) line.detail = "to " + FormatInstant(*rollback.to);
    others_.push_back(std::move(line));
  }
  std::stable_sort(others_.begin(), others_.end(),
                   [](const LogLine& a, const LogLine& b) { return a.at < b.at; });
}

void EventLog::Know(const std::shared_ptr<const Writer>& writer) {
  constexpr size_t kMaxWriters = 100'000;
  if (writers_.size() > kMaxWriters) writers_.clear();
  writers_[writer->thread] = {writer, operations_};
}

std::vector<std::shared_ptr<const Writer>> EventLog::LastWriters() const {
  constexpr size_t kLastWriters = 200;
  std::vector<KnownWriter> known;
  known.reserve(writers_.size());
  for (const auto& [thread, writer] : writers_) known.push_back(writer);
  std::sort(known.begin(), known.end(),
            [](const KnownWriter& a, const KnownWriter& b) { return a.used > b.used; });
  std::vector<std::shared_ptr<const Writer>> last;
  for (size_t i = 0; i < std::min(known.size(), kLastWriters); ++i) last.push_back(known[i].writer);
  return last;
}

void EventLog::Add(const Event& event) {
  AddOthers(event.at);
  CloseOld(event.at);
  ++operations_;
  if (event.body.mutations.writer) Know(event.body.mutations.writer);
  if (event.synced) AddSync(event);
  last_ = event.at;
  if (event.type != RecordType::kForget && event.type != RecordType::kPrepare) {
    Ino file = 0;
    LogLine line = LineOf(event, &file);
    const bool grows = !NameOfChange(event).empty();
    CloseGroupsOf(event, grows ? Key{file, line.event, line.pid} : Key{});
    Put(std::move(line), file, grows);
  }
  paths_.Apply(event);
  Emit();
}

void EventLog::End(Instant until) {
  AddOthers(Instant{until.ns == UINT64_MAX ? until.ns : until.ns + 1});
  CloseAll();
  Emit();
}

void EventLog::CloseAll() {
  for (const auto& [key, group] : open_) group->open = false;
  open_.clear();
}

void EventLog::AddOthers(Instant before) {
  for (; next_other_ < others_.size() && others_[next_other_].at < before; ++next_other_) {
    CloseAll();  // what comes before a mark or a rollback is not what comes after it
    Put(others_[next_other_], 0, false);
  }
}

void EventLog::AddSync(const Event& event) {
  LogLine line;
  line.at = line.until = std::max(last_, *event.synced);
  line.event = "sync";
  Put(std::move(line), 0, true);
}

LogLine EventLog::LineOf(const Event& event, Ino* file) {
  LogLine line;
  line.at = line.until = event.at;
  const RecordBody& body = event.body;
  const Mutations& mutations = body.mutations;
  if (event.type == RecordType::kMount || event.type == RecordType::kUnmount) {
    line.event = event.type == RecordType::kMount ? "mount" : "unmount";
    line.detail = mutations.holder;
    return line;
  }
  line.by_somebody = event.unique != 0 || body.pid != 0 || body.uid != 0;
  line.uid = body.uid;
  line.pid = body.pid;
  if (const auto writer = writers_.find(body.pid); body.pid != 0 && writer != writers_.end()) {
    line.writer = writer->second.writer;
    writer->second.used = operations_;
  }
  const auto& names = mutations.names;
  const auto path_of = [&](const NameMutation& m) {
    return paths_.PathOf(m.parent, m.name, event);
  };
  if (line.event = NameOfChange(event); !line.event.empty()) {
    if (mutations.inodes.empty()) return line;
    const InodeMutation& changed = mutations.inodes.front();
    *file = changed.ino;
    line.path = paths_.PathOf(changed.ino, event);
    if (line.event == "attributes" && changed.inode) {
      line.detail = "mode " + PermissionsText(changed.inode->mode) + ", owner " +
                    std::to_string(changed.inode->uid) + ":" + std::to_string(changed.inode->gid);
    } else if (!mutations.xattrs.empty() && line.event.ends_with("xattr")) {
      line.detail = mutations.xattrs.back().name;
    } else if (changed.inode) {
      line.has_size = true;
      line.size = changed.inode->size;
      line.bytes = line.event == "truncate" || line.event == "allocate" ? 0 : body.length;
      if (line.bytes > 0) AddRange(&line, body.offset, body.offset + body.length);
    }
    return line;
  }
  switch (event.type) {
    case RecordType::kMakeRoot:
      line.event = "made";
      line.path = "/";
      break;
    case RecordType::kCreate:
      line.event = "create";
      for (const NameMutation& m : names) {
        line.path = path_of(m);
        line.detail = TypeName(m.type);
        for (const InodeMutation& made : mutations.inodes) {
          if (made.ino == m.ino && made.inode && made.inode->is_symlink())
            line.detail += " to " + made.inode->target;
        }
      }
      break;
    case RecordType::kCreateUnnamed:
      line.event = "create";
      line.detail = "file without a name";
      for (const InodeMutation& m : mutations.inodes) {
        if (m.inode && m.inode->nlink == 0) line.path = "#" + std::to_string(m.ino);
      }
      break;
    case RecordType::kUnlink:
    case RecordType::kRmdir:
      line.event = event.type == RecordType::kUnlink ? "remove" : "rmdir";
      for (const NameMutation& m : names) line.path = path_of(m);
      break;
    case RecordType::kLink:
      line.event = "link";
      for (const NameMutation& m : names) {
        line.path = paths_.PathOf(m.ino, event);
        line.to = path_of(m);
      }
      break;
    case RecordType::kRename:
      line.event = names.size() == 2 && names[0].ino != 0 && names[0].type != S_IFCHR ? "exchange"
                                                                                      : "rename";
      if (!names.empty()) {
        line.path = path_of(names.front());
        line.to = path_of(names.back());
      }
      break;
    case RecordType::kRestore:
      line.event = "restore";
      if (mutations.restored) {
        const RestoreNote& note = *mutations.restored;
        if (!note.places.empty()) line.path = note.places.front().path;
        for (size_t i = 1; i < note.places.size(); ++i)
          line.detail += (i == 1 ? "and " : ", ") + note.places[i].path;
        if (!line.detail.empty()) line.detail += ", ";
        line.detail += "as of " + FormatInstant(note.source);
        if (note.undoes) line.detail += ", undoes " + FormatInstant(*note.undoes);
      }
      break;
    default:
      line.event = "other";
      line.detail = "record of type " + std::to_string(static_cast<int>(event.type));
      break;
  }
  return line;
}

void EventLog::Put(LogLine line, Ino file, bool grows) {
  const Key key{file, line.event, line.pid};
  if (const auto found = open_.find(key); grows && found != open_.end()) {
    LogLine& group = found->second->line;
    group.until = line.until;
    ++group.count;
    group.bytes += line.bytes;
    group.size = line.size;
    group.detail = line.detail;
    if (!group.writer) group.writer = line.writer;
    for (const auto& [from, to] : line.ranges) AddRange(&group, from, to);
    return;
  }
  groups_.push_back({std::move(line), key, grows});
  ++lines_;
  if (grows) open_[key] = std::prev(groups_.end());
  if (groups_.size() > kMaxGroups && groups_.front().open) {
    open_.erase(groups_.front().key);
    groups_.front().open = false;
  }
}

void EventLog::CloseGroupsOf(const Event& event, const Key& but) {
  const auto& names = event.body.mutations.names;
  const bool moves_directory =
      event.type == RecordType::kRename &&
      std::any_of(names.begin(), names.end(), [](const auto& m) { return m.type == S_IFDIR; });
  if (moves_directory || event.type == RecordType::kRestore)
    CloseAll();  // what lies in it has another path from now on
  for (const InodeMutation& m : event.body.mutations.inodes) {
    for (auto it = open_.lower_bound({m.ino, "", 0});
         it != open_.end() && std::get<Ino>(it->first) == m.ino;) {
      if (it->first == but) {
        ++it;
        continue;
      }
      it->second->open = false;
      it = open_.erase(it);
    }
  }
}

void EventLog::CloseOld(Instant now) {
  for (Group& group : groups_) {
    if (now.ns - group.line.at.ns < kGroupNs) break;
    if (!group.open) continue;
    group.open = false;
    open_.erase(group.key);
  }
  Emit();
}

void EventLog::Emit() {
  for (; !groups_.empty() && !groups_.front().open; groups_.pop_front())
    sink_(groups_.front().line);
}

void EventLog::AddRange(LogLine* line, uint64_t from, uint64_t to) {
  auto& ranges = line->ranges;
  auto at = std::lower_bound(ranges.begin(), ranges.end(), std::pair(from, to));
  at = ranges.insert(at, {from, to});
  if (at != ranges.begin() && std::prev(at)->second >= from) --at;
  while (std::next(at) != ranges.end() && std::next(at)->first <= at->second) {
    at->second = std::max(at->second, std::next(at)->second);
    ranges.erase(std::next(at));
  }
  if (ranges.size() <= kMaxRanges) return;
  auto closest = ranges.begin();
  for (auto it = ranges.begin(); std::next(it) != ranges.end(); ++it) {
    if (std::next(it)->first - it->second < std::next(closest)->first - closest->second)
      closest = it;
  }
  closest->second = std::next(closest)->second;
  ranges.erase(std::next(closest));
}

}  // namespace rw
