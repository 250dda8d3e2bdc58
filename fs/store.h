// The store: everything under one data root. It owns the clock, the index, the journals and the
// catalog of volumes, and it is where volumes are made, found, rolled back and removed.
//
// Thread safety: all methods may be called from any thread. Operations on the catalog are
// serialised; they never wait for the data operations of any volume other than the one they name.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "fs/check.h"
#include "fs/events.h"
#include "fs/restore.h"
#include "metadata/catalog.h"
#include "metadata/index_tuning.h"
#include "metadata/instant.h"
#include "metadata/retention.h"

namespace rw {

class FileLayer;
class Past;
class Volume;

// What is no longer kept is collected in the background (fs/collector.h).
struct CollectorOptions {
  bool background = true;  // false: only Store::Collect collects (for tests)
  // When the disk under the data root has less than this free, the oldest unpinned history of all
  // volumes goes first. Absent: a twentieth of the disk, at most 4 GiB.
  std::optional<uint64_t> reserve_bytes;
  uint64_t copy_bytes_per_second = 64 << 20;  // of live data, when segments are cleaned
  unsigned cpu_percent = 25;                  // of one processor, for walking the index
  // In the background, segments stay at least so long whatever the policies say: what a daemon left
  // unanswered is looked for in them.
  uint64_t grace_ns = 10'000'000'000;
  unsigned delay_seconds = 0;  // until the first run, for those who go on with what was open
  size_t max_chain = 8;  // timelines that a read may have to look through; then they are joined
};

struct StoreOptions {
  // NOLINTNEXTLINE(google-explicit-constructor): most are asked for a root and no more
  StoreOptions(std::filesystem::path data_root = {}, std::function<uint64_t()> clock = {},
               FileLayer* file_layer = nullptr)
      : root(std::move(data_root)), wall_clock(std::move(clock)), files(file_layer) {}

  std::filesystem::path root;
  // The wall clock, in nanoseconds since the epoch. Replaced by tests; may step back and forth.
  std::function<uint64_t()> wall_clock;
  // The file layer under all but the index; null: the real one. Must outlive the store.
  FileLayer* files = nullptr;
  IndexTuning index;
  uint64_t max_segment_bytes = 64 << 20;  // of journals; tests make them smaller
  RetentionSettings defaults;  // of volumes that say nothing else; see metadata/retention.h
  CollectorOptions collector;
};

// What a new volume starts from.
enum class SourceKind { kNone, kSnapshotOf, kCloneOf, kRollback };

struct CreateRequest {
  std::string name;
  std::map<std::string, std::string>
      options;  // as given by the user; the same name and options again is success
  SourceKind source_kind = SourceKind::kNone;
  std::string source;  // a volume's name, unless kNone
  std::optional<Instant>
      at;  // absent: now (for a snapshot volume as source: the instant that it shows)
  std::optional<uint32_t> uid, gid, mode;  // of the root directory of a new volume or clone
  std::optional<uint64_t> size_bytes;      // limit of the contents of a new volume or clone
  RetentionSettings retention{};           // of a new volume or clone
  ScheduleSettings schedule{};             // of a new volume or clone
};

// Throws Refused(EINVAL) unless it is 1 to 255 bytes of UTF-8 that no time and no path can be
// taken for: without / and control characters, not beginning with a digit or one of @ . -, and not
// "now".
void CheckLabel(std::string_view label);

// What `inspect` tells about a volume. Byte counts are of the disk under the data root.
struct VolumeStatus {
  VolumeRecord record;
  Instant history_first;  // the earliest instant that `at` accepts for this volume
  Instant history_last;   // the instant of its newest operation (of a snapshot volume: the instant
                          // it shows)
  uint64_t history_bytes = 0;  // journal segments of all timelines that the volume was bound to
  uint64_t live_bytes = 0;     // bytes of file contents that the volume holds now
  uint64_t live_inodes = 0;    // files, directories and other inodes that it holds now

  RetentionPolicy policy;  // what it says itself, else the defaults
  size_t points = 0;       // instants before history_first that its schedule keeps
  size_t pins = 0;         // marks, snapshot volumes and clones that keep something of it
  uint64_t write_bytes_per_second = 0;  // into its journal, averaged over the last minutes
  // How long a range of every write the disk has room for at that rate; absent: nothing is written.
  std::optional<uint64_t> fits_ns;
  std::string pressure;  // why history was given up before its time, and when; empty if it was not
};

// A volume's schedule of marks.
struct ScheduleStatus {
  std::string volume;
  MarkSchedule schedule;
  std::optional<Instant> last;  // time of the schedule that was seen to
  std::optional<Instant> next;  // absent: never
  size_t marks = 0;             // of the schedule that there are
};

// What keeps history of a volume that its policy does not ask for.
struct Pin {
  enum class Kind { kMark, kSnapshot, kClone };
  Kind kind = Kind::kMark;
  std::string name;  // the mark's label, or the volume's name
  Instant at;        // what it keeps
  Instant made;
  uint64_t bytes = 0;  // that would be given back if this pin alone went
};

// What a policy would do, or a run of the collector has done.
struct CollectReport {
  Instant horizon;             // every instant from here on is kept
  size_t points = 0;           // schedule's points kept before it
  uint64_t versions = 0;       // of inodes, names, extents and xattrs that go from the index
  uint64_t journal_bytes = 0;  // of segments and parts of segments that go
  uint64_t moved_bytes = 0;    // of live data copied to free their segments
  bool complete = false;       // false: the run was ended before its time
};

// What was erased.
struct ForgetReport {
  std::vector<uint64_t> inodes;  // their numbers
  uint64_t bytes = 0;            // of data, all copies counted
  uint64_t segments = 0;         // that held them
  uint64_t damaged_places = 0;   // in segments, that could not be looked at
};

// A volume that was removed and whose history is still there.
struct RemovedVolume {
  VolumeRecord record;
  Instant removed;
  Instant expires;
  uint64_t history_bytes = 0;
};

// What an operator should know, beyond what each volume says of itself.
struct StoreHealth {
  std::map<std::string, std::string> broken;   // volumes that cannot be used, and why
  std::map<std::string, std::string> pressed;  // volumes that lost history to a full disk, and when
  bool index_damaged = false;                  // the next start makes it again
  uint64_t bytes_short = 0;  // how much more should be free on the disk under the data root
  uint64_t bytes_free = 0;
};

// Bytes of files under the data root.
struct StoreSizes {
  uint64_t index_bytes = 0, journal_bytes = 0, free_segment_bytes = 0;
};

class Store {
 public:
  // Opens the data root, or makes one in an empty or absent directory, and recovers what a crash
  // left. Throws Refused: EBUSY when another process has it open, ENOTEMPTY for a directory that is
  // not rewind's, EPROTONOSUPPORT for a newer format; EIO when what is on disk does not check out.
  static std::unique_ptr<Store> Open(StoreOptions options);
  virtual ~Store() = default;

  // The instant "now": everything acknowledged before the call is at or before it, everything that
  // begins after the call is later, also across a restart.
  virtual Instant Now() = 0;

  // Makes a volume; durable when it returns. The same name with the same options again does
  // nothing. Throws Refused: EINVAL (name, time, a size smaller than the contents), EEXIST (same
  // name, other options), ENOENT (unknown source), ERANGE (time before what is kept, or in the
  // future), EROFS (rollback of a snapshot volume), EBUSY (rollback of a volume whose head is
  // open).
  virtual void Create(const CreateRequest& request) = 0;

  // Makes an empty volume that nobody but the caller knows of, to be filled: OpenVolume of the name
  // that is returned. Finish gives it the name that was asked for, durably and with all that is in
  // it; its history begins there. Discard ends it, as does the next start. It must not be open
  // then. Throw Refused as Create does; EEXIST if there is a volume of that name, whatever its
  // options.
  virtual std::string Begin(const CreateRequest& request) = 0;
  virtual void Finish(const std::string& unfinished, const std::string& name) = 0;
  virtual void Discard(const std::string& unfinished) = 0;

  // Puts all of the volumes back to what they were at `at`, or none of them; durable when it
  // returns. Returns the instant just before it, one for all. If the label is not empty, it becomes
  // a mark of that instant, so that what they were is kept. Throws Refused as Create does for a
  // rollback, and as SetMark does for a label.
  virtual Instant RollBackAll(const std::vector<std::string>& volumes, Instant at,
                              const std::string& label, const std::string& note) = 0;
  // Throws what RollBackAll would, but for open heads; changes nothing.
  virtual void CheckRollBack(const std::vector<std::string>& volumes, Instant at) = 0;

  // Removes the name. Clones, snapshot volumes made of it, and fixed views that are open keep
  // showing what they showed. For as long as its `trash` says, it can still be named as a source of
  // clones and snapshot volumes, unless another volume has the name; of several removed volumes of
  // one name the last removed is meant. Throws Refused: ENOENT; EBUSY while its head is open.
  virtual void Remove(const std::string& name) = 0;
  virtual std::vector<RemovedVolume> ListRemoved() = 0;  // the last removed first
  // Ends all removed volumes of that name now. Throws Refused: ENOENT; EBUSY if only a volume that
  // was not removed has the name.
  virtual void Purge(const std::string& name) = 0;

  // Changes settings of a volume: those of metadata/retention.h, and "size" ("none": no limit). An
  // empty value means the default again. All of them or none. Throws Refused: ENOENT, EINVAL
  // (value; a contradiction; a limit below what the volume holds), EROFS (a snapshot volume has
  // none).
  virtual void Set(const std::string& name, const std::map<std::string, std::string>& changes) = 0;
  // What would go if the retention settings were changed so and collected at once. Changes nothing.
  // Throws Refused as Set does.
  virtual CollectReport DryRun(const std::string& name, const RetentionSettings& changes) = 0;
  virtual std::vector<Pin> Pins(
      const std::string& name) = 0;  // oldest instant first; throws ENOENT
  // Collects, to the end, what is no longer kept of any volume. Throws Refused(ECANCELED) if that
  // is ended by StopCollecting; what was collected until then is.
  virtual CollectReport Collect() = 0;
  // Ends what is being collected, soon; nothing is until the store is opened again.
  virtual void StopCollecting() = 0;
  // For an operation that met a full disk: gives up the oldest unpinned history. True if there is
  // room now, so that it is worth trying again.
  virtual bool MakeRoom() = 0;
  // Calls back for each operation of the volume, in the order of their instants, while it is
  // written; see fs/events.h. Of a removed volume, too. Throws Refused: ENOENT, EROFS (a snapshot
  // volume).
  virtual EventsRead ReadEvents(const std::string& name, const EventQuery& query,
                                const EventCallback& callback) = 0;
  // Erases, for good, what was in the files that the path has led to, as far back as history is
  // kept: from all segments, so that no file under the data root has it any more. Reads of it are
  // ENODATA from then on, at every instant, of clones and snapshot volumes, too. `copies`: also of
  // other files that share its bytes. May be repeated. Throws Refused: ENOENT, EISDIR; EBUSY, with
  // nothing changed, while any volume's head has such a file, or if others share its bytes.
  virtual ForgetReport ForgetPath(const std::string& name, const std::string& path, bool copies,
                                  const ProgressSink& progress = {}) = 0;
  // Puts paths of what the volume was into what it is, in one operation and durably; contents are
  // shared. Nothing has changed if it throws Refused: ENOENT (no such volume; never there, or not
  // then), EROFS, EPERM (.rewind), EINVAL, ENOTDIR, EEXIST (something is where `to` says), ERANGE,
  // ENOSPC, EBUSY (something else has changed there meanwhile).
  virtual RestoreReport Restore(const RestoreRequest& request, const RestoreHooks& hooks) = 0;
  // Rollbacks and restores that are still known, the newest first.
  virtual std::vector<TakenBack> ListTakenBack(const std::string& name) = 0;
  // Rolls the volume back to just before `action`, which is undone so; returns the instant that it
  // shows then. `dry_run`: only whether it could be. Throws Refused as Create does.
  virtual Instant UndoRollback(const std::string& name, const TakenBack& action, bool dry_run) = 0;
  // Looks for damage, while the store is used; see fs/README.md, "Check". Throws Refused: ENOENT,
  // ERANGE.
  virtual CheckReport Check(const CheckOptions& options) = 0;
  // Throws Refused(ENOSPC) if the next start has no room to make a damaged index again. It would
  // then go on with the damaged one.
  virtual void NeedRoomForIndex() = 0;

  // Gives one instant of each of the volumes a name: `at`, or now (one and the same for all, and
  // everything acknowledged before the call is in it). Returns the instant; it and the mark survive
  // the machine then. All volumes get the mark or none. Throws Refused: EINVAL (label, or no
  // volume), ENOENT, EEXIST (a volume has a mark of that name), EROFS (a snapshot volume: it shows
  // one instant only), ERANGE.
  virtual Instant SetMark(const std::vector<std::string>& volumes, const std::string& label,
                          const std::string& note, std::optional<Instant> at) = 0;
  // The same for an instant at which each of the volumes was kept still, and by what: a line of
  // text by volume.
  virtual void SetConsistentMark(const std::map<std::string, std::string>& volumes,
                                 const std::string& label, const std::string& note, Instant at) = 0;
  // Makes the marks that schedules want by now, one for all times that were missed, and removes
  // those that they do not want any more. To be called about once a second.
  virtual void RunSchedules() = 0;
  // Of all volumes that have one, or of the named one. Throws Refused(ENOENT).
  virtual std::vector<ScheduleStatus> Schedules(const std::optional<std::string>& volume) = 0;
  virtual void RemoveMark(const std::string& volume, const std::string& label) = 0;  // ENOENT
  virtual std::vector<Mark> Marks(const std::string& volume) = 0;  // oldest instant first
  // What a time in text means for the volume: as ParseTime, or a label of one of its marks. Throws
  // Refused(EINVAL, ENOENT).
  virtual Instant InstantOf(const std::string& volume, std::string_view time) = 0;

  virtual std::optional<VolumeRecord> Find(const std::string& name) = 0;
  virtual std::vector<VolumeRecord> List() = 0;              // sorted by name
  virtual VolumeStatus Status(const std::string& name) = 0;  // throws Refused(ENOENT)

  // Opens what the name is bound to: the head (one shared object however often it is opened) or the
  // fixed view of a snapshot volume. The volume stays open until the last reference goes, which
  // must be before the Store does.
  virtual std::shared_ptr<Volume> OpenVolume(const std::string& name) = 0;

  // Opens the volume as it was at `at`, read-only. Throws Refused(ENOENT, ERANGE) as Create does.
  virtual std::shared_ptr<Volume> OpenAt(const std::string& name, Instant at) = 0;

  // For looks at what a volume was, up to now. Throws Refused(ENOENT, EIO).
  virtual std::shared_ptr<const Past> OpenPast(const std::string& name) = 0;
  virtual StoreHealth Health() = 0;
  virtual StoreSizes Sizes() = 0;  // looks at each file

  // Makes everything acknowledged so far durable, on all volumes.
  virtual void SyncAll() = 0;
};

}  // namespace rw
