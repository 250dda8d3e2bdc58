#include "fs/session_nodes.h"

#include <errno.h>

#include "metadata/refused.h"
#include "metadata/time_text.h"

namespace rw {

bool SessionNodes::IsAbsolute(std::string_view time) {
  return time.starts_with('@') ||
         time.find('-') != time.npos;  // neither is part of a duration or of `now`
}

Node SessionNodes::Find(uint64_t node_id) {
  Node node;
  node.slot = node_id >> kInoBits;
  node.ino = node_id & ((uint64_t{1} << kInoBits) - 1);
  if (node.slot == 0) {
    node.volume = volume_;
    return node;
  }
  if (node.slot == kHiddenSlot) return node;
  Instant at;
  {
    const std::lock_guard lock(views_mutex_);
    if (const auto* open = views_.Find(node.slot)) {
      node.volume = *open;
      return node;
    }
    const auto found = instants_.find(node.slot);
    if (found == instants_.end()) throw Refused(ESTALE, "no such view");
    at = found->second;
  }
  node.volume = open_at_(FormatInstant(at));
  const std::lock_guard lock(views_mutex_);
  views_.Put(node.slot, node.volume, 1);
  return node;
}

Node SessionNodes::FindView(std::string_view time) {
  Node node;
  node.volume = open_at_(time);
  node.ino = kRootIno;
  const Instant at = node.volume->fixed_at();
  const std::lock_guard lock(views_mutex_);
  const auto found = slots_.find(at);
  if (found != slots_.end()) {
    node.slot = found->second;
  } else {
    node.slot = slots_.size() + 1;
    if (node.slot >= kHiddenSlot) throw Refused(ENFILE, "too many views opened through one mount");
    slots_[at] = node.slot;
    instants_[node.slot] = at;
  }
  views_.Put(node.slot, node.volume, 1);
  return node;
}

void SessionNodes::Remember(uint64_t node_id) {
  if (node_id >> kInoBits != 0 || !volume_->writable())
    return;  // only unlinked files of a head are waiting for it
  const std::lock_guard lock(lookups_mutex_);
  ++lookups_[node_id];
}

void SessionNodes::Forget(uint64_t node_id, uint64_t count) {
  if (node_id >> kInoBits != 0 || !volume_->writable()) return;
  {
    const std::lock_guard lock(lookups_mutex_);
    const auto found = lookups_.find(node_id);
    if (found == lookups_.end()) return;
    if (found->second > count) {
      found->second -= count;
      return;
    }
    lookups_.erase(found);
  }
  volume_->Forget(node_id);
}

}  // namespace rw
