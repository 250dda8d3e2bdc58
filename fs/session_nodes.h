// Which inode of which view a FUSE node id means.
//
// A node id is (slot << 40 | inode number). Slot 0 is the mounted volume, so that its node ids need
// no table and outlive the daemon; each view under `.rewind/` that somebody has named has a slot of
// its own, and `.rewind` itself the last one.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "fs/lru_cache.h"
#include "fs/volume.h"

namespace rw {

inline constexpr unsigned kInoBits = 40;
inline constexpr uint64_t kHiddenSlot = (1 << 24) - 1;
inline constexpr uint64_t kHiddenNode = kHiddenSlot << kInoBits | kRootIno;
inline constexpr std::string_view kHiddenDirectory = ".rewind";

struct Node {
  std::shared_ptr<Volume> volume;  // null: the directory `.rewind`
  uint64_t slot = 0;
  Ino ino = 0;

  bool hidden() const { return volume == nullptr; }
  uint64_t IdOf(Ino other) const {
    return slot << kInoBits | other;
  }  // of an inode of the same view
};

// Thread safety: all methods may be called from any thread.
class SessionNodes {
 public:
  using OpenAt = std::function<std::shared_ptr<Volume>(std::string_view time)>;
  // Hears which instant a slot means from now on, before the kernel hears of the slot; nothing when
  // it is free again.
  using OnView = std::function<void(uint64_t slot, std::optional<Instant> at)>;
  using KernelKnows = std::function<bool(uint64_t node_id)>;
  // Has the kernel forget a view that nobody uses, soon, and on a thread that serves no requests.
  using DropView = std::function<void(uint64_t slot)>;

  // Views that the kernel is left to know without being used. Each costs the daemon that goes on
  // with the mount some tens of microseconds, and anybody who may look at the volume can name any
  // number of instants.
  static constexpr size_t kKnownViews = 4096;

  SessionNodes(std::shared_ptr<Volume> volume, OpenAt open_at, OnView on_view)
      : volume_(std::move(volume)),
        open_at_(std::move(open_at)),
        on_view_(std::move(on_view)),
        open_(kOpenViews) {}

  // The kernel knows nodes that it got to know from an earlier daemon: those of `views`, and others
  // of the volume. Nobody knows how often, so from now on `knows` is asked before an unlinked inode
  // ends. To be called before everything else.
  void Inherit(const std::map<uint64_t, Instant>& views, KernelKnows knows);
  // Ends what the earlier daemon would have ended, had it lived to hear that it was forgotten: of
  // the inodes that were unlinked when this one began, those that the kernel does not know. To be
  // called late enough for every process to have seen the replies that the earlier daemon sent:
  // only then does the kernel know an inode.
  void EndForgotten();
  // Of inodes that have no name, those that the kernel does not know end.
  void EndUnlinked(const std::vector<Ino>& inos);

  // Of the unlinked inodes, those that the kernel got to know and has not said to have forgotten.
  std::vector<Ino> UnlinkedAndKnown();

  Volume& volume() { return *volume_; }

  // To be called before there are views.
  void DropViewsBy(DropView drop) { drop_view_ = std::move(drop); }
  // The name in `.rewind` that a view was found by last; nothing if the kernel has forgotten it.
  std::optional<std::string> NameOfView(uint64_t slot);

  Node Find(uint64_t node_id);  // throws Refused(ESTALE) for a slot never given out
  Node FindView(
      std::string_view time);  // the root of the volume as of a time in text; throws Refused
  static bool IsAbsolute(std::string_view time);  // means the same instant whenever it is asked

  // The ids under which the kernel may know an inode of views that are read-only.
  std::vector<uint64_t> PastNodes(Ino ino);

  // The kernel has got to know the node / has forgotten it `count` times.
  void Remember(uint64_t node_id);
  void Forget(uint64_t node_id, uint64_t count);

 private:
  static constexpr size_t kOpenViews = 32;
  static constexpr size_t kIdleViews = 1024;

  struct View {
    Instant at;
    uint64_t lookups = 0;    // of all its inodes
    bool inherited = false;  // lookups are unknown: kept as long as the session
    std::string name = {};   // a directory has one name in the kernel's cache: the last one
    bool is_known = false;   // in `known_`
  };
  uint64_t NewSlot();              // views_mutex_ held
  void LimitKnown(uint64_t slot);  // views_mutex_ held
  void EndIfUnlinked(Ino ino);

  std::shared_ptr<Volume> volume_;
  OpenAt open_at_;
  OnView on_view_;
  DropView drop_view_;
  KernelKnows kernel_knows_;  // empty: `lookups_` says it all

  std::mutex views_mutex_;  // guards what follows
  std::map<Instant, uint64_t> slots_;
  std::unordered_map<uint64_t, View> views_;
  std::deque<uint64_t> idle_;   // slots that the kernel has forgotten; the oldest are freed
  std::deque<uint64_t> known_;  // slots that were found; beyond the limit, the oldest are dropped
  uint64_t newest_slot_ = 0;
  LruCache<uint64_t, std::shared_ptr<Volume>> open_;  // opened again, by its instant, when needed

  std::mutex lookups_mutex_;                   // guards what follows; taken before the volume's
  std::vector<Ino> inherited_unlinked_;        // for EndForgotten
  std::unordered_map<Ino, uint64_t> lookups_;  // of the mounted volume's inodes
};

}  // namespace rw
