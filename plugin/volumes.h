// Volumes as Docker and the command line see them: names, who has mounted them, and where.
//
// Each volume has at most one session however often it is mounted, and one more for each instant
// that it is shown at. Who holds a mount is counted per ID, never written to disk: the counts have
// to last as long as the mounts, so both are kept in the memory of the supervisor, if there is one.
//
// Thread safety: all methods may be called from any thread. What mounts, unmounts, rolls back or
// removes one volume waits for the others that do so on the same volume only; Get and List wait for
// none of them.
#pragma once

#include <atomic>
#include <chrono>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "fs/session.h"
#include "fs/store.h"
#include "plugin/kept_mount.h"
#include "plugin/scheduler.h"

namespace rw {

struct VolumesOptions {
  std::filesystem::path mounts;  // directory that the mountpoints are made in
  // How a session is made. Replaced by tests that need a slow or a failing one.
  std::function<std::unique_ptr<Session>(std::shared_ptr<Volume>, SessionOptions)> mount =
      &Session::Mount;
  // Where mounts are kept beyond the end of this process, if anywhere; must outlive the Volumes.
  MountKeeper* keeper = nullptr;
  // Mounts of an earlier daemon to go on with. Takes their descriptors.
  std::vector<KeptMount> inherited = {};
  std::string failed_upgrade = {};        // why the program of the last upgrade was not kept; or ""
  std::vector<std::string> removed = {};  // as MountKeeper::PutRemoval, by an earlier daemon
  // How long the engine may repeat a request whose answer it has not had.
  std::chrono::milliseconds repeat_patience{60'000};
};

struct MountHolder {
  std::string id;             // Docker's, or "cli:<directory>"
  std::optional<Instant> at;  // the instant that it sees, if not the head
};

struct VolumeFacts {
  VolumeRecord record;
  std::string mountpoint;  // of what the name is bound to; "" while it is not mounted
  std::vector<MountHolder> holders;
};

struct MountResult {
  std::string mountpoint;
  std::string device;  // as MountEntry::device: how another mount namespace finds the same mount
};

class Volumes {
 public:
  // `store` must outlive this. The mounts directory is made if it is absent, and mounts below it
  // that an earlier run left, and that are not inherited, are detached. Throws Refused(EBUSY) while
  // another daemon uses that directory.
  Volumes(Store& store, VolumesOptions options);
  ~Volumes();
  Volumes(const Volumes&) = delete;
  Volumes& operator=(const Volumes&) = delete;

  // Options are those of plugin/options.h. Throws Refused as they and Store::Create do, and EBUSY,
  // naming who holds it, for the rollback of a mounted volume.
  void Create(const std::string& name, const std::map<std::string, std::string>& options);

  // Throws Refused: ENOENT, or EBUSY naming who holds it.
  void Remove(const std::string& name);
  // The same for who may be repeating the request that did it, not having had the answer: nothing,
  // if there is no volume of that name and one was removed lately.
  void RemoveOrRepeat(const std::string& name);

  // Adds one to the count of (name, id) and mounts if that was the first. `at` shows the volume at
  // a time in text, read-only. Throws Refused: ENOENT, what the time gets, what the mount gets.
  MountResult Mount(const std::string& name, const std::string& id,
                    const std::optional<std::string>& at = std::nullopt);

  // Takes one from the count of (name, id); unmounts when nobody is left. An unknown name or id is
  // nothing to do.
  void Unmount(const std::string& name, const std::string& id);

  // The volume that `id` has mounted.
  std::optional<std::string> FindHeldBy(const std::string& id);

  std::optional<VolumeFacts> Find(const std::string& name);
  std::vector<VolumeFacts> List();  // sorted by name
  VolumeStatus Status(const std::string& name) { return store_.Status(name); }

  // For those who read history.
  Store& store() { return store_; }

  // As the store's.
  void Set(const std::string& name, const std::map<std::string, std::string>& changes) {
    store_.Set(name, changes);
  }
  CollectReport DryRun(const std::string& name, const RetentionSettings& changes) {
    return store_.DryRun(name, changes);
  }
  CollectReport Collect() { return store_.Collect(); }
  // One at a time: Refused(EBUSY). Ends early after EndLongWork.
  CheckReport Check(CheckOptions options, const std::optional<std::string>& at);
  void NeedRoomForIndex() { store_.NeedRoomForIndex(); }
  CheckProgress Progress();  // of the check under way
  // Of what is being restored, undone or forgotten of a volume; no step if nothing is.
  CheckProgress ProgressOf(const std::string& name);
  // Whoever asked for that, or, of no volume, for the check, does not want it any more. It is
  // refused with ECANCELED unless it is done before it notices.
  void GiveUp(const std::string& name);
  // As Store::ForgetPath; also from what the kernel has cached.
  ForgetReport Forget(const std::string& name, const std::string& path, bool copies);

  // As Store::Restore, with `at` as a time in text; the kernel sees it at once where the volume is
  // mounted. One at a time of each volume: Refused(EBUSY).
  RestoreReport Restore(RestoreRequest request, const std::string& at);
  // What was undone, or would be, and how.
  struct Undone {
    TakenBack action;
    Instant source;                       // what was put back is as of then
    std::optional<RestoreReport> report;  // of a restore
  };
  // Takes back the last rollback or restore that is not taken back yet; `redo`: the last undo.
  // Throws Refused: ENOENT (nothing to undo), ERANGE (not kept any more), EBUSY (a rollback, and
  // the volume is mounted).
  Undone Undo(const std::string& name, bool redo, bool dry_run);
  std::vector<ScheduleStatus> Schedules(const std::optional<std::string>& name) {
    return store_.Schedules(name);
  }

  // As MountKeeper::Upgrade.
  void Upgrade();
  const std::string& failed_upgrade() const { return options_.failed_upgrade; }

  // Ends, soon and for good, what may take long: checks, restores, collecting.
  void EndLongWork() {
    ending_ = true;
    store_.StopCollecting();
  }
  std::vector<Pin> Pins(const std::string& name) { return store_.Pins(name); }
  std::vector<RemovedVolume> ListRemoved() { return store_.ListRemoved(); }
  void Purge(const std::string& name) { store_.Purge(name); }

  // As Store::SetMark; `at` is a time in text, a mark of the first volume included. The note must
  // be one line that a terminal can show.
  Instant SetMark(const std::vector<std::string>& names, const std::string& label,
                  const std::string& note, const std::optional<std::string>& at);
  // As Store::SetConsistentMark.
  void SetConsistentMark(const std::map<std::string, std::string>& volumes,
                         const std::string& label, const std::string& note, Instant at);
  // Throws what SetMark would.
  void CheckMark(const std::vector<std::string>& names, const std::string& label,
                 const std::string& note);
  // As Store::RollBackAll. Throws Refused(EBUSY), naming who holds it, if one is mounted.
  Instant RollBackAll(const std::vector<std::string>& names, Instant at, const std::string& label,
                      const std::string& note);
  // What a time means for several volumes: a mark must mean the same for all that have it.
  Instant InstantOfAll(const std::vector<std::string>& names, const std::string& time);
  // How often who has mounted the volume itself, not what it was at an instant.
  std::map<std::string, int> HeadHolders(const std::string& name);
  // An instant at which no volume was held more often than is said of it. Throws Refused(EBUSY).
  Instant InstantHeldAtMost(const std::map<std::string, int>& volumes);
  // As Store::RemoveMark; the refusal names marks that are similar.
  void RemoveMark(const std::string& name, const std::string& label);
  std::vector<Mark> Marks(const std::string& name) { return store_.Marks(name); }
  std::vector<std::string> WritableNames();  // of all volumes that change

  // As Store::InstantOf; the refusal names marks that are similar.
  Instant InstantOf(const std::string& volume, std::string_view time);

  // As Store::Now. Throws Refused(ENOENT) if there is no such volume.
  Instant Now(const std::string& name);

  // What the volume shows at a time in text, or now; nothing that is written later is in it. The
  // view must go before the store does.
  std::shared_ptr<Volume> View(const std::string& name, const std::optional<std::string>& at);
  // Makes a volume of what `fill` puts into it, or none if it throws. Options are those of Create,
  // for a new volume.
  void MakeFilled(const std::string& name, const std::map<std::string, std::string>& options,
                  const std::function<void(Volume&)>& fill);
  StoreHealth Health() { return store_.Health(); }
  StoreSizes Sizes() { return store_.Sizes(); }

  // Unmounts everything, and refuses every mount from now on.
  void UnmountAll();

  // The answer to what this thread has been asked last is on its way: a request that says the same
  // is another one. Until then, it may be the same one again, after the end of this process.
  void Answered();

  // Returns when every mounted volume answers.
  void Probe();

 private:
  using Clock = std::chrono::steady_clock;
  struct Mounted {
    std::unique_ptr<Session> session;
    MountResult result;
    std::map<std::string, int> counts;  // by ID
    // As KeptMount::unanswered: by this daemon, and by an earlier one, so that what comes may be
    // the same again.
    std::map<std::string, int> unanswered, doubtful;
    Clock::time_point doubted_until;
    KeptMount kept;  // but for who holds it
  };
  // One volume name in use.
  struct Entry {
    std::mutex working;  // held by what changes this volume's mounts, for as long as that takes
    // By the instant shown; kInstantMax is what the name is bound to. Changed with `working` and
    // mutex_ held, so either is enough to read it.
    std::map<Instant, Mounted> mounted;
  };
  class Work;

  class Exclusive;  // volumes_restore.cc
  void RefuseHeld(const Work& work, const std::string& what, const std::string& name) const;
  RestoreReport Restore(const RestoreRequest& request);
  void AtHead(const std::string& name, const std::function<void(Session*)>& work);
  std::string SimilarMarks(const std::string& volume, std::string_view label);
  Mounted MakeMount(const VolumeRecord& record, std::optional<Instant> at);
  bool Inherit(KeptMount kept);
  void TakeOver(KeptMount kept);
  SessionOptions OptionsOf(const VolumeRecord& record, const std::string& mountpoint,
                           const std::string& source);
  void Unmount(Mounted mounted);
  // In the volume's history; what goes wrong with that is logged only.
  void NoteMount(const std::string& name, const std::string& id);
  static void NoteHolder(Volume& head, const std::string& name, const std::string& id,
                         bool mounted);
  std::shared_ptr<Volume> OpenToNote(const std::string& name);
  // What is to be kept of it; mutex_ held, or it is nobody else's yet.
  static KeptMount KeptOf(const Mounted& mounted);
  // Adds 1 or -1 to the count of `id`, unless an earlier daemon has done so for the same request.
  static void Count(Mounted* mounted, const std::string& id, int change);
  void Keep(const KeptMount& kept, bool with_descriptors = false);
  void ForgetDoubts(const Work& work);
  void Remove(const Work& work, const std::string& name);
  // Remembers what it is told as the volume's progress, for as long as it lives. Throws
  // Refused(ECANCELED), once, when it was given up.
  std::shared_ptr<const ProgressSink> NoteProgress(const std::string& name);
  bool WasJustRemoved(const std::string& name);
  void ForgetRemovals();
  std::vector<MountHolder> HoldersOf(const Entry& entry) const;
  static std::map<std::string, int> HeadHoldersOf(const Entry& entry);

  Store& store_;
  const VolumesOptions options_;
  std::mutex checking_;  // held by the check under way
  std::atomic<bool> ending_{false};
  std::atomic<bool> check_given_up_{false};
  std::mutex progress_mutex_;  // guards the next three
  CheckProgress progress_;
  std::map<std::string, CheckProgress> progresses_;  // by volume
  std::set<std::string> given_up_;                   // of them
  int directory_fd_ = -1;                            // holds the lock on the mounts directory

  std::mutex
      mutex_;  // guards the members below and is never held while the disk or the kernel is asked
  std::map<std::string, std::shared_ptr<Entry>> entries_;
  std::map<std::string, Clock::time_point> removals_;  // until when they may be repeated
  std::set<std::string> taking_back_;                  // volumes that something is taken back of
  bool stopping_ = false;
  Scheduler scheduler_{store_};  // ends first
};

}  // namespace rw
