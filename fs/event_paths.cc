#include "fs/event_paths.h"

#include <sys/stat.h>

#include <algorithm>
#include <chrono>

#include "fs/store.h"
#include "fs/volume.h"
#include "metadata/refused.h"

namespace rw {
namespace {

constexpr uint64_t kMaxWalkNs = 2'000'000'000;  // in all
constexpr size_t kNamesAtOnce = 1024;
constexpr int kDeepest = 4096;

uint64_t SteadyNanoseconds() {
  return static_cast<uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
}

std::string Numbered(Ino ino) { return "#" + std::to_string(ino); }

}  // namespace

// In order, so that the first one is the same wherever one begins to look.
void EventPaths::Insert(std::vector<Name>* names, const Name& name) {
  const auto at = std::lower_bound(names->begin(), names->end(), name);
  if (at == names->end() || *at != name) names->insert(at, name);
}

void EventPaths::Clear() {
  known_.clear();
  all_ = false;
}

void EventPaths::Apply(const Event& event) {
  if (event.timeline != timeline_) {
    Clear();
    timeline_ = event.timeline;
  }
  if (event.type == RecordType::kMakeRoot) all_ = true;  // nothing else is there
  const Mutations& mutations = event.body.mutations;
  // Those that end first, and those that are put first of all: an exchange binds both anew.
  for (const NameMutation& m : mutations.names) {
    const Name name{m.parent, m.name};
    for (const InodeMutation& changed : mutations.inodes) {
      const auto found = known_.find(changed.ino);
      if (found == known_.end() || changed.ino == m.ino) continue;
      std::vector<Name>& names = found->second.names;
      const auto bound = std::find(names.begin(), names.end(), name);
      if (bound == names.end()) continue;
      if (names.size() == 1) {
        std::string path;
        if (Find(m.parent, &path))
          found->second.last_path = (path == "/" ? "" : path) + "/" + m.name;
      }
      names.erase(bound);
    }
  }
  for (const NameMutation& m : mutations.names) {
    if (m.ino == 0) continue;
    std::vector<Name>& names = known_[m.ino].names;
    const Name name{m.parent, m.name};
    Insert(&names, name);
  }
  for (const InodeMutation& m : mutations.inodes) {
    if (!m.inode) known_.erase(m.ino);
  }
  if (known_.size() > 2 * kMaxNames) Clear();
}

bool EventPaths::Find(Ino ino, std::string* path) {
  path->clear();
  for (int depth = 0; ino != kRootIno; ++depth) {
    const auto found = known_.find(ino);
    if (found == known_.end() || depth == kDeepest) return false;
    if (found->second.names.empty()) {
      if (found->second.last_path.empty()) return false;
      *path = found->second.last_path + *path + " (deleted)";
      return true;
    }
    path->insert(0, "/" + found->second.names.front().name);
    ino = found->second.names.front().parent;
  }
  if (path->empty()) *path = "/";
  return true;
}

std::string EventPaths::PathOf(Ino ino, const Event& event) {
  if (event.timeline != timeline_) {
    Clear();
    timeline_ = event.timeline;
  }
  std::string path;
  if (Find(ino, &path)) return path;
  if (all_) return Numbered(ino);
  Walk(ino, Before(event.at));
  return Find(ino, &path) ? path : Numbered(ino);
}

std::string EventPaths::PathOf(Ino parent, std::string_view name, const Event& event) {
  std::string path = PathOf(parent, event);
  if (path != "/") path += '/';
  return path.append(name);
}

// Takes in all names, or if there are too many, those on the way to the wanted one.
void EventPaths::Walk(Ino wanted, Instant at) {
  if (walked_ns_ > kMaxWalkNs) return;
  const uint64_t begun = SteadyNanoseconds();
  try {
    const auto view = store_->OpenAt(volume_, at);
    std::vector<Ino> directories = {kRootIno};
    std::unordered_map<Ino, Name> parents;  // of directories, beyond what is held
    bool all = true;
    bool found = false;
    while (!directories.empty() && !(found && !all)) {
      const Ino directory = directories.back();
      directories.pop_back();
      for (uint64_t after = 0;;) {
        const std::vector<DirEntry> entries = view->ReadDir(directory, after, kNamesAtOnce);
        for (const DirEntry& entry : entries) {
          after = entry.cookie;
          const Name name{directory, entry.name};
          all = all && known_.size() < kMaxNames;
          found = found || entry.ino == wanted;
          const bool is_directory = entry.type == S_IFDIR;
          if (is_directory) directories.push_back(entry.ino);
          if (!all && is_directory) parents[entry.ino] = name;
          if (!all && entry.ino != wanted) continue;
          std::vector<Name>& names = known_[entry.ino].names;
          Insert(&names, name);
        }
        if (entries.size() < kNamesAtOnce) break;
      }
      if (SteadyNanoseconds() - begun + walked_ns_ > kMaxWalkNs) {
        all = false;
        break;
      }
    }
    // The way up from what was wanted.
    for (Ino ino = wanted; found && ino != kRootIno;) {
      const auto known = known_.find(ino);
      if (known == known_.end() || known->second.names.empty()) {
        const auto parent = parents.find(ino);
        if (parent == parents.end()) break;
        known_[ino].names = {parent->second};
      }
      ino = known_[ino].names.front().parent;
    }
    all_ = all;
  } catch (const Refused&) {
    // Not kept any more, or damaged: numbers have to do.
  }
  walked_ns_ += SteadyNanoseconds() - begun;
}

}  // namespace rw
