#include "tests/support/disk_model.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <unordered_map>

namespace rw::testing {
namespace {

using Kind = DiskEvent::Kind;

constexpr uint64_t kSectorBytes = 512;

std::string ParentOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == path.npos ? "" : path.substr(0, slash);
}

}  // namespace

std::string NameOf(CrashKind kind) {
  static const char* const kNames[] = {"nothing unsynced", "everything",    "a prefix",
                                       "names only",       "contents only", "torn sectors",
                                       "torn pages",       "some pages",    "some sectors",
                                       "mostly there",     "hardly there"};
  return kNames[static_cast<int>(kind)];
}

// What is there of the changes that no sync covers. Changes have numbers, in order; "a moment" is a
// number of changes.
class DiskModel::Choice {
 public:
  Choice(CrashKind kind, size_t at, Random& random)
      : kind_(kind), at_(at), moment_(random.Below(at + 1)), random_(random) {
    const uint64_t percents[] = {10, 50, 90};
    percent_ = random_.Pick(percents);
    if (kind == CrashKind::kMostlyThere) percent_ = 97;
    if (kind == CrashKind::kHardlyThere) percent_ = 3;
  }

  uint64_t grain() const {
    const bool sectors = kind_ == CrashKind::kTornSectors || kind_ == CrashKind::kSomeSectors;
    return sectors ? kSectorBytes : 4096;
  }
  bool NameIsThere(size_t event) {
    switch (kind_) {
      case CrashKind::kNothing:
      case CrashKind::kContents:
        return false;
      case CrashKind::kEverything:
      case CrashKind::kNames:
      case CrashKind::kTornSectors:
      case CrashKind::kTornPages:
        return true;
      case CrashKind::kPrefix:
        return event < moment_;
      default:
        return random_.Percent(percent_);
    }
  }
  // The moment whose size a file has.
  size_t SizeAt(const std::vector<size_t>& pending) {
    if (kind_ == CrashKind::kNames) return pending.size();
    return MomentOf(pending);
  }
  // The moment whose contents a grain of a file has: the same each time it is asked for.
  size_t GrainAt(const std::vector<size_t>& pending, uint64_t grain) {
    if (kind_ == CrashKind::kNames) return 0;
    const auto [found, added] = grains_.try_emplace(grain, 0);
    if (!added) return found->second;
    size_t moment = MomentOf(pending);
    // The last write of all is torn.
    const bool torn = kind_ == CrashKind::kTornSectors || kind_ == CrashKind::kTornPages;
    if (torn && !pending.empty() && pending.back() + 1 == at_ && random_.OneIn(2)) --moment;
    return found->second = moment;
  }
  void NextFile() { grains_.clear(); }

 private:
  size_t MomentOf(const std::vector<size_t>& pending) {
    switch (kind_) {
      case CrashKind::kNothing:
        return 0;
      case CrashKind::kPrefix:
        return static_cast<size_t>(std::lower_bound(pending.begin(), pending.end(), moment_) -
                                   pending.begin());
      case CrashKind::kSomePages:
      case CrashKind::kSomeSectors:
      case CrashKind::kMostlyThere:
      case CrashKind::kHardlyThere:
        if (random_.OneIn(4)) return random_.Below(pending.size() + 1);
        return random_.Percent(percent_) ? pending.size() : 0;
      default:
        return pending.size();
    }
  }

  const CrashKind kind_;
  const size_t at_;
  const size_t moment_;
  Random& random_;
  uint64_t percent_ = 50;
  std::unordered_map<uint64_t, size_t> grains_;
};

DiskModel::DiskModel(const DiskLog& log) : log_(log) {
  for (const auto& [path, number] : log.BaseNames()) {
    names_[path] = number;
    *files_[number].durable = *log.base().at(path);
  }
  for (const auto& [path, contents] : log.base()) {
    if (contents == nullptr) names_[path] = 0;
  }
}

void DiskModel::AdvanceTo(size_t events) {
  for (; at_ < events; ++at_) {
    const DiskEvent& event = Event(at_);
    if (event.is_name()) {
      pending_names_.push_back(at_);
    } else if (event.kind == Kind::kSync) {
      SyncFile(files_[event.file], event.begun);
    } else if (event.kind == Kind::kSyncDirectory) {
      SyncNames(event.path, event.begun);
    } else {
      files_[event.file].pending.push_back(at_);
    }
  }
}

void DiskModel::Apply(const DiskEvent& event, std::string* contents) const {
  switch (event.kind) {
    case Kind::kWrite:
      contents->resize(std::max(contents->size(), event.offset + event.data.size()));
      memcpy(contents->data() + event.offset, event.data.data(), event.data.size());
      return;
    case Kind::kZero:
      contents->resize(std::max(contents->size(), event.offset + event.length));
      memset(contents->data() + event.offset, 0, event.length);
      return;
    case Kind::kResize:
      contents->resize(event.length);
      return;
    default:
      throw std::logic_error("not a change of contents");
  }
}

void DiskModel::SyncFile(File& file, size_t begun) {
  const auto end = std::lower_bound(file.pending.begin(), file.pending.end(), begun);
  if (end == file.pending.begin()) return;
  if (file.durable.use_count() > 1) file.durable = std::make_shared<std::string>(*file.durable);
  for (auto it = file.pending.begin(); it != end; ++it) Apply(Event(*it), file.durable.get());
  file.pending.erase(file.pending.begin(), end);
}

void DiskModel::ApplyName(const DiskEvent& event, Names* names) {
  switch (event.kind) {
    case Kind::kCreate:
    case Kind::kMakeDirectory:
      (*names)[event.path] = event.file;
      return;
    case Kind::kRename:
      if (const auto from = names->find(event.path);
          from != names->end() && from->second == event.file)
        names->erase(from);
      (*names)[event.to] = event.file;
      return;
    case Kind::kRemove:
      if (const auto found = names->find(event.path);
          found != names->end() && found->second == event.file)
        names->erase(found);
      return;
    case Kind::kRemoveDirectory:
      names->erase(event.path);
      std::erase_if(*names,
                    [&](const auto& name) { return name.first.starts_with(event.path + "/"); });
      return;
    default:
      throw std::logic_error("not a change of names");
  }
}

void DiskModel::SyncNames(const std::string& directory, size_t begun) {
  std::vector<size_t> left;
  for (const size_t i : pending_names_) {
    const DiskEvent& event = Event(i);
    // A rename is durable, on both sides, with the directory that it leads to.
    const std::string& name = event.kind == Kind::kRename ? event.to : event.path;
    if (i < begun && ParentOf(name) == directory) {
      ApplyName(event, &names_);
    } else {
      left.push_back(i);
    }
  }
  pending_names_ = std::move(left);
}

DiskContents DiskModel::Contents(uint32_t number, Choice& choice) const {
  const auto found = files_.find(number);
  if (found == files_.end()) return std::make_shared<std::string>();
  const File& file = found->second;
  if (file.pending.empty()) return file.durable;
  choice.NextFile();
  const size_t size_at = choice.SizeAt(file.pending);
  auto contents = std::make_shared<std::string>(*file.durable);
  uint64_t size = contents->size();
  for (size_t i = 0; i < file.pending.size(); ++i) {
    const DiskEvent& event = Event(file.pending[i]);
    if (event.kind == Kind::kResize) {
      if (i < size_at) size = event.length;
      if (i < size_at || event.length > contents->size()) contents->resize(event.length);
      continue;
    }
    const uint64_t end =
        event.offset + (event.kind == Kind::kWrite ? event.data.size() : event.length);
    if (i < size_at) size = std::max(size, end);
    contents->resize(std::max<uint64_t>(contents->size(), end));
    for (uint64_t at = event.offset; at < end;) {
      const uint64_t grain = at / choice.grain();
      const uint64_t next = std::min(end, (grain + 1) * choice.grain());
      if (i < choice.GrainAt(file.pending, grain)) {
        if (event.kind == Kind::kWrite) {
          memcpy(contents->data() + at, event.data.data() + (at - event.offset), next - at);
        } else {
          memset(contents->data() + at, 0, next - at);
        }
      }
      at = next;
    }
  }
  contents->resize(size);
  return contents;
}

DiskImage DiskModel::Fail(CrashKind kind, Random& random) const {
  Choice choice(kind, at_, random);
  Names names = names_;
  for (const size_t i : pending_names_) {
    if (choice.NameIsThere(i)) ApplyName(Event(i), &names);
  }
  DiskImage image;
  for (const auto& [path, file] : names) {
    // What lies in a directory that is not there is lost.
    const std::string parent = ParentOf(path);
    if (!parent.empty() && !image.contains(parent)) continue;
    image[path] = file == 0 ? nullptr : Contents(file, choice);
  }
  return image;
}

}  // namespace rw::testing
