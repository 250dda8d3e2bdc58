// Paths of the past are taken back into the head of a volume, and what was taken back is undone.
// See fs/README.md, "Restoring".
#include <errno.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>

#include <algorithm>

#include "fs/past.h"
#include "fs/path_history.h"
#include "fs/store_impl.h"
#include "fs/tree_compare.h"
#include "fs/tree_preparer.h"
#include "metadata/quantity.h"
#include "metadata/quoted.h"
#include "metadata/refused.h"
#include "metadata/similar.h"
#include "metadata/time_text.h"

namespace rw {
namespace {

using Names = std::vector<std::string>;

constexpr std::string_view kHiddenName = ".rewind";
constexpr size_t kMaxPaths = 1000;
constexpr size_t kMaxKnownNames = 10'000;  // of a directory, that a mistyped one is compared with
constexpr size_t kMaxActions = 1000;

bool Begins(const Names& path, const Names& with) {
  return path.size() >= with.size() && std::equal(with.begin(), with.end(), path.begin());
}

// A mistyped name, and what it may have been.
std::string SimilarNames(ViewVolume* view, Ino directory, const Names& above,
                         const std::string& name) {
  std::vector<std::string> known;
  for (const DirEntry& entry : view->ReadDir(directory, 0, kMaxKnownNames))
    known.push_back(entry.name);
  std::string list;
  for (const std::string& similar : MostSimilar(name, known)) {
    Names path = above;
    path.push_back(similar);
    list += (list.empty() ? "" : ", ") + Quoted(JoinPath(path));
  }
  return list.empty() ? "" : "; similar ones that were: " + list;
}

struct Walked {
  Ino ino = 0;          // 0: not there
  size_t depth = 0;     // names that were found
  Ino last = kRootIno;  // the last that was
  uint32_t type = S_IFDIR;
};

Walked Walk(Volume* view, const Names& path) {
  Walked walked;
  for (const std::string& name : path) {
    if (walked.type != S_IFDIR) return walked;
    const auto found = view->Lookup(walked.last, name);
    if (!found) return walked;
    ++walked.depth;
    walked.last = found->ino;
    walked.type = found->inode.mode & S_IFMT;
  }
  walked.ino = walked.last;
  return walked;
}

// Ends what was prepared, unless it is in its place.
class Preparation {
 public:
  explicit Preparation(ViewVolume* head) : head_(head), directory_(head->BeginPreparing({})) {}
  ~Preparation() { head_->EndPreparing(directory_); }
  Preparation(const Preparation&) = delete;
  Preparation& operator=(const Preparation&) = delete;
  Ino directory() const { return directory_; }

 private:
  ViewVolume* head_;
  const Ino directory_;
};

}  // namespace

// One request.
class StoreImpl::Restoring {
 public:
  Restoring(StoreImpl* store, const RestoreRequest& request, const RestoreHooks& hooks)
      : store_(*store), request_(request), hooks_(hooks) {}

  RestoreReport Run() {
    Open();
    FindTargets();
    ChoosePlaces();
    report_.source = request_.at;
    if (request_.dry_run) {
      for (const auto& [top, place] : places_) Compare(top, place);
      return std::move(report_);
    }
    if (places_.empty()) return std::move(report_);
    try {
      PrepareAndPlace();
    } catch (...) {
      EmptyUnlinked();
      throw;
    }
    head_->Sync();
    if (hooks_.changed) hooks_.changed(note_.places);
    EmptyUnlinked();
    return std::move(report_);
  }

 private:
  // What is to be at a path, and what of it is in the source.
  struct Target {
    Names from, path;
    Ino source = 0;  // 0: nothing is to be there
  };
  // The highest name that is new or leads to something else, and what is to be in it.
  struct Place {
    std::vector<const Target*> targets;
    Ino present = 0;
  };

  void Open() {
    const auto record = store_.Find(request_.volume);
    if (!record) throw Refused(ENOENT, "no such volume: " + Quoted(request_.volume));
    if (!record->writable()) {
      throw Refused(EROFS, "cannot restore into " + request_.volume +
                               ": it is a snapshot volume, which never changes");
    }
    size_bytes_ = record->size_bytes;
    head_ = std::dynamic_pointer_cast<ViewVolume>(store_.OpenVolume(request_.volume));
    source_ = std::dynamic_pointer_cast<ViewVolume>(store_.OpenAt(request_.volume, request_.at));
  }

  Names Parse(const std::string& text) const {
    Names path = SplitPath(text);
    if (!path.empty() && path.front() == kHiddenName) {
      throw Refused(EPERM, "path " + Quoted(text) +
                               " refused: .rewind is the way into the volume's past; say the path "
                               "without it, and the time with --at");
    }
    return path;
  }

  void FindTargets() {
    if (request_.paths.empty()) throw Refused(EINVAL, "nothing to restore: a path is needed");
    if (request_.paths.size() > kMaxPaths)
      throw Refused(EINVAL, "at most 1000 paths can be restored at once; name their directory");
    std::vector<Names> paths;
    for (const std::string& text : request_.paths) paths.push_back(Parse(text));
    std::sort(paths.begin(), paths.end());
    const bool elsewhere = !request_.to.empty();
    const Names to = elsewhere ? Parse(request_.to) : Names();
    for (const Names& path : paths) {
      // What lies in what is restored anyway.
      if (!targets_.empty() && Begins(path, targets_.back().from)) continue;
      if (path.empty() && !elsewhere) {
        throw Refused(
            EINVAL, "the root cannot be restored in place: roll the volume back, or say --to DIR");
      }
      Target target;
      target.from = target.path = path;
      if (elsewhere) {
        target.path = to;
        if (!path.empty()) target.path.push_back(path.back());
        RefuseTaken(target.path);
      }
      target.source = NeedSource(path);
      targets_.push_back(std::move(target));
    }
  }

  void RefuseTaken(const Names& path) const {
    const bool twice = std::any_of(targets_.begin(), targets_.end(),
                                   [&](const Target& other) { return other.path == path; });
    if (!twice && Walk(head_.get(), path).ino == 0) return;
    throw Refused(EEXIST, Quoted(JoinPath(path)) +
                              (twice ? " is what two of the paths would become" : " exists") +
                              "; --to restores beside what is there: name another directory");
  }

  Ino NeedSource(const Names& path) const {
    const Walked walked = Walk(source_.get(), path);
    if (walked.ino != 0 || request_.undoes) return walked.ino;
    const std::string there = Quoted(JoinPath(path)) + " was not in " + request_.volume + " at " +
                              FormatInstant(request_.at);
    if (walked.depth > 0 && walked.depth < path.size() && walked.type != S_IFDIR) {
      const Names above(path.begin(), path.begin() + static_cast<ptrdiff_t>(walked.depth));
      throw Refused(ENOENT, there + ": " + Quoted(JoinPath(above)) + " was a " +
                                TypeName(walked.type) +
                                (walked.type == S_IFLNK ? "; name the path that it leads to" : ""));
    }
    if (const auto when = WhenItWas(*store_.OpenPast(request_.volume), path, request_.at))
      throw Refused(ENOENT, there + "; " + *when);
    const Names above(path.begin(), path.begin() + static_cast<ptrdiff_t>(walked.depth));
    throw Refused(ENOENT, there + ", nor at any time that is kept" +
                              SimilarNames(source_.get(), walked.last, above, path[walked.depth]));
  }

  void ChoosePlaces() {
    for (const Target& target : targets_) {
      const Walked now = Walk(head_.get(), target.path);
      size_t depth = now.ino != 0 ? target.path.size() : now.depth + 1;
      if (depth < target.path.size() || now.ino == 0) {
        if (target.source == 0) continue;  // it is not there
        if (now.type != S_IFDIR) {
          const Names above(target.path.begin(),
                            target.path.begin() + static_cast<ptrdiff_t>(now.depth));
          throw Refused(ENOTDIR, "cannot restore " + Quoted(JoinPath(target.path)) + ": " +
                                     Quoted(JoinPath(above)) + " is a " + TypeName(now.type) +
                                     " now; restore that path, or say --to DIR");
        }
      }
      const Names top(target.path.begin(), target.path.begin() + static_cast<ptrdiff_t>(depth));
      Place& place = places_[top];
      place.targets.push_back(&target);
      place.present = now.ino;
      if (depth < target.path.size()) CheckLength(target.path);
    }
    for (const auto& [top, place] : places_) {
      RestoreChange::Kind kind = RestoreChange::Kind::kCreate;
      if (place.present != 0)
        kind = place.targets.front()->source != 0 ? RestoreChange::Kind::kReplace
                                                  : RestoreChange::Kind::kRemove;
      report_.paths.push_back({JoinPath(top), kind});
    }
  }

  static void CheckLength(const Names& path) {
    for (const std::string& name : path) {
      if (name.size() > kMaxNameBytes) throw Refused(ENAMETOOLONG, "a name has at most 255 bytes");
    }
  }

  void Step(const char* step, uint64_t done) const {
    if (hooks_.go_on && !hooks_.go_on()) throw Refused(ECANCELED, "given up");
    Tell(step, done);
  }
  void Tell(const char* step, uint64_t done) const {
    if (hooks_.progress) hooks_.progress(step, done, 0);
  }

  void Compare(const Names& top, const Place& place) {
    TreeComparison comparison(source_.get(), head_.get(), &report_, [this] {
      Step("comparing", report_.created + report_.replaced + report_.removed + report_.unchanged);
    });
    for (const Target* target : place.targets) {
      // Directories above it that are made with it.
      for (size_t depth = top.size(); depth < target->path.size(); ++depth) {
        const Names above(target->path.begin(),
                          target->path.begin() + static_cast<ptrdiff_t>(depth));
        if (!compared_.insert(above).second) continue;
        ++report_.created;
        ++report_.inodes;
        report_.changes.push_back({RestoreChange::Kind::kCreate, JoinPath(above), S_IFDIR, 0});
      }
      comparison.Compare(JoinPath(target->path), target->source, place.present);
    }
  }

  void PrepareAndPlace() {
    const Preparation preparation(head_.get());
    prepared_ = preparation.directory();
    TreePreparer preparer(
        head_.get(), source_.get(), {source_->view(), store_.LastingTimelines(head_->timeline())},
        [&] { Step("restoring", preparer.inodes()); }, [this] { return store_.MakeRoom(); });
    std::vector<ViewVolume::Placement> placements;
    try {
      for (const auto& [top, place] : places_) {
        ViewVolume::Placement placement;
        placement.path = top;
        placement.expected = place.present;
        if (place.targets.front()->source != 0) {
          placement.prepared = std::to_string(placements.size());
          for (const Target* target : place.targets)
            Prepare(&preparer, preparation.directory(), placement.prepared, top, *target);
        }
        placements.push_back(std::move(placement));
      }
    } catch (const RefusedForGood& refused) {
      if (refused.error() != ENOSPC || !size_bytes_) throw;
      throw Refused(ENOSPC, "cannot restore: it does not fit beside what " + request_.volume +
                                " holds, whose size is " + FormatByteCount(*size_bytes_) +
                                "; nothing was changed. Remove something, or raise the size with "
                                "rewind set");
    }
    const ViewVolume::Placed placed = PutInPlace(preparation.directory(), placements);
    note_ = placed.note;
    report_.done = placed.at;
    report_.inodes = preparer.inodes();
    report_.bytes = preparer.bytes();
  }

  ViewVolume::Placed PutInPlace(Ino directory,
                                const std::vector<ViewVolume::Placement>& placements) {
    for (;;) {
      try {
        return head_->Place({}, directory, placements, request_.at, request_.undoes);
      } catch (const RefusedForGood&) {
        throw;
      } catch (const Refused& refused) {
        if (refused.error() == EAGAIN) {
          throw Refused(EBUSY, "cannot restore: " + std::string(refused.what()) +
                                   "; nothing was changed, try again");
        }
        if (refused.error() != ENOSPC || !store_.MakeRoom()) throw;
      }
    }
  }

  // The directories on the way to the target, if others have not made them, and the target.
  void Prepare(TreePreparer* preparer, Ino directory, const std::string& prepared, const Names& top,
               const Target& target) {
    std::string name = prepared;
    for (size_t depth = top.size(); depth < target.path.size(); ++depth) {
      const Names above(target.path.begin(), target.path.begin() + static_cast<ptrdiff_t>(depth));
      Ino& made = made_[above];
      if (made == 0) {
        made = request_.to.empty()
                   ? preparer->AddDirectory(directory, name, Walk(source_.get(), above).ino)
                   : preparer->AddPlainDirectory(directory, name);
      }
      directory = made;
      name = target.path[depth];
    }
    preparer->AddTree(directory, name, target.source);
  }

  // What remains of it if this fails goes when the volume is opened or closed next.
  void EmptyUnlinked() const {
    try {
      const bool mounted = hooks_.mounted && hooks_.mounted();
      uint64_t removed = 0;
      const auto nameless = [&](const std::vector<Ino>& inos) {
        hooks_.nameless(inos);
        Tell("removing what was there", removed += inos.size());
      };
      head_->EmptyUnlinked(mounted ? ViewVolume::AskKernel(nameless) : nullptr, UINT64_MAX);
      std::vector<Ino> displaced;
      for (const RestoreNote::Place& place : note_.places) {
        if (place.displaced != 0) displaced.push_back(place.displaced);
      }
      if (mounted) hooks_.nameless(displaced);
      if (!mounted)
        std::for_each(displaced.begin(), displaced.end(), [&](Ino ino) { head_->Forget(ino); });
      head_->Forget(prepared_);  // if it has not come to its place
    } catch (const std::exception& error) {
      spdlog::warn("{}: what a restore has left goes later: {}", request_.volume, error.what());
    }
  }

  StoreImpl& store_;
  const RestoreRequest& request_;
  const RestoreHooks& hooks_;
  std::optional<uint64_t> size_bytes_;
  std::shared_ptr<ViewVolume> head_, source_;
  std::vector<Target> targets_;
  std::map<Names, Place> places_;
  std::map<Names, Ino> made_;
  std::set<Names> compared_;
  Ino prepared_ = 0;
  RestoreNote note_;
  RestoreReport report_;
};

// The timelines whose segments stay for as long as the head refers to them: those that it is made
// of, and those whose keys have become theirs.
std::set<TimelineId> StoreImpl::LastingTimelines(TimelineId head) {
  const std::lock_guard lock(catalog_mutex_);
  std::set<TimelineId> lasting;
  for (const View::Link& link : catalog_->Chain(head, kInstantMax)) lasting.insert(link.timeline);
  for (bool more = true; more;) {
    more = false;
    for (const auto& [id, record] : catalog_->timelines()) {
      if (!record.dropped && record.absorbed_by && lasting.contains(*record.absorbed_by))
        more |= lasting.insert(id).second;
    }
  }
  return lasting;
}

RestoreReport StoreImpl::Restore(const RestoreRequest& request, const RestoreHooks& hooks) {
  return Restoring(this, request, hooks).Run();
}

std::vector<TakenBack> StoreImpl::ListTakenBack(const std::string& name) {
  VolumeRecord record;
  std::map<TimelineId, Instant> forks;
  {
    const std::lock_guard lock(catalog_mutex_);
    record = catalog_->Need(name);
    for (const Binding& binding : record.bindings) {
      const auto timeline = catalog_->timelines().find(binding.timeline);
      if (timeline != catalog_->timelines().end()) forks[binding.timeline] = timeline->second.fork;
    }
  }
  std::vector<TakenBack> actions;
  Instant until = kInstantMax;
  for (size_t i = record.bindings.size(); i-- > 0 && actions.size() < kMaxActions;) {
    const Binding& binding = record.bindings[i];
    for (const auto& [at, note] :
         index_->ListRestores(binding.timeline, binding.since, until, kMaxActions)) {
      TakenBack action{false, at, note.source, note.undoes, {}};
      for (const RestoreNote::Place& place : note.places) action.paths.push_back(place.path);
      actions.push_back(std::move(action));
    }
    if (i > 0) {
      const auto fork = forks.find(binding.timeline);
      actions.push_back({true,
                         binding.since,
                         fork != forks.end() ? fork->second : Instant{},
                         binding.undoes,
                         {}});
    }
    until = Before(binding.since);
  }
  return actions;
}

Instant StoreImpl::UndoRollback(const std::string& name, const TakenBack& action, bool dry_run) {
  const Collector::Pause pause(*collector_);  // it may have the head open
  const std::lock_guard lock(catalog_mutex_);
  const VolumeRecord source = catalog_->Need(name);
  const Place place = Resolve(source, Before(action.at));
  if (dry_run) return place.at;
  SyncPlace(place);
  if (HeadIsOpen(source.timeline()))
    throw Refused(EBUSY, "cannot undo the rollback of " + name + ": it is in use");
  CatalogStore::Change change;
  GoBack(source, place, catalog_->NextTimelineId(), &change, action.at);
  catalog_->Commit(change);
  return place.at;
}

}  // namespace rw
