#include "fs/session_nodes.h"

#include <errno.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <cctype>
#include <utility>

#include "metadata/refused.h"
#include "metadata/time_text.h"

namespace rw {

bool SessionNodes::IsAbsolute(std::string_view time) {
  // A date begins with a digit and has a hyphen, which durations, `now` and labels do not both.
  return time.starts_with('@') ||
         (!time.empty() && std::isdigit(static_cast<unsigned char>(time.front())) != 0 &&
          time.find('-') != time.npos);
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
    if (const auto* open = open_.Find(node.slot)) {
      node.volume = *open;
      return node;
    }
    const auto found = views_.find(node.slot);
    if (found == views_.end()) throw Refused(ESTALE, "no such view");
    at = found->second.at;
  }
  node.volume = open_at_(FormatInstant(at));
  const std::lock_guard lock(views_mutex_);
  open_.Put(node.slot, node.volume, 1);
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
    node.slot = NewSlot();
    slots_[at] = node.slot;
    views_[node.slot].at = at;
    idle_.push_back(node.slot);  // until it is remembered
    if (on_view_) on_view_(node.slot, at);
  }
  views_[node.slot].name = time;
  LimitKnown(node.slot);
  open_.Put(node.slot, node.volume, 1);
  return node;
}

std::optional<std::string> SessionNodes::NameOfView(uint64_t slot) {
  const std::lock_guard lock(views_mutex_);
  const auto found = views_.find(slot);
  if (found == views_.end() || found->second.name.empty()) return std::nullopt;
  return found->second.name;
}

// What is used stays with the kernel when it is dropped, and is forgotten after its use.
void SessionNodes::LimitKnown(uint64_t slot) {
  if (std::exchange(views_[slot].is_known, true)) return;
  known_.push_back(slot);
  if (known_.size() <= kKnownViews) return;
  const auto oldest = views_.find(known_.front());
  known_.pop_front();
  if (oldest == views_.end()) return;
  oldest->second.is_known = false;
  if (drop_view_) drop_view_(oldest->first);
}

uint64_t SessionNodes::NewSlot() {
  while (idle_.size() >= kIdleViews) {
    const auto oldest = views_.find(idle_.front());
    idle_.pop_front();
    if (oldest == views_.end() || oldest->second.lookups > 0) continue;
    open_.Erase(oldest->first);
    slots_.erase(oldest->second.at);
    if (on_view_) on_view_(oldest->first, std::nullopt);
    views_.erase(oldest);
  }
  if (views_.size() >= kHiddenSlot - 1)
    throw Refused(ENFILE, "too many views open through one mount");
  do {
    newest_slot_ = newest_slot_ % (kHiddenSlot - 1) + 1;
  } while (views_.contains(newest_slot_));
  return newest_slot_;
}

std::vector<uint64_t> SessionNodes::PastNodes(Ino ino) {
  std::vector<uint64_t> nodes;
  if (!volume_->writable()) nodes.push_back(ino);
  const std::lock_guard lock(views_mutex_);
  for (const auto& [slot, view] : views_) nodes.push_back(slot << kInoBits | ino);
  return nodes;
}

void SessionNodes::Remember(uint64_t node_id) {
  const uint64_t slot = node_id >> kInoBits;
  if (slot == kHiddenSlot) return;
  if (slot != 0) {
    const std::lock_guard lock(views_mutex_);
    if (const auto found = views_.find(slot); found != views_.end()) ++found->second.lookups;
    return;
  }
  if (!volume_->writable()) return;  // only unlinked files of a head wait to be forgotten
  const std::lock_guard lock(lookups_mutex_);
  ++lookups_[node_id];
}

void SessionNodes::Forget(uint64_t node_id, uint64_t count) {
  const uint64_t slot = node_id >> kInoBits;
  if (slot == kHiddenSlot) return;
  if (slot != 0) {
    const std::lock_guard lock(views_mutex_);
    const auto found = views_.find(slot);
    if (found == views_.end()) return;
    found->second.lookups -= std::min(count, found->second.lookups);
    if (found->second.lookups == 0 && !found->second.inherited) idle_.push_back(slot);
    return;
  }
  if (!volume_->writable()) return;
  // Held until the volume has done its part: the kernel may look the file up again and unlink it
  // meanwhile, which would make an inode of a file that it knows end.
  const std::lock_guard lock(lookups_mutex_);
  const auto found = lookups_.find(node_id);
  if (found == lookups_.end() && !kernel_knows_) return;
  if (found != lookups_.end() && found->second > count) {
    found->second -= count;
    return;
  }
  if (found != lookups_.end()) lookups_.erase(found);
  EndIfUnlinked(node_id);
}

void SessionNodes::EndIfUnlinked(Ino ino) {
  try {
    if (kernel_knows_) {
      const auto inode = volume_->FindInode(ino);
      if (!inode || inode->nlink != 0 || kernel_knows_(ino)) return;
    }
    volume_->Forget(ino);
  } catch (const std::exception& error) {
    spdlog::error("an unlinked inode did not end; it will at the next mount: {}", error.what());
  }
}

void SessionNodes::Inherit(const std::map<uint64_t, Instant>& views, KernelKnows knows) {
  kernel_knows_ = std::move(knows);
  inherited_unlinked_ = volume_->Unlinked();
  for (const auto& [slot, at] : views) {
    slots_[at] = slot;
    views_[slot] = {.at = at, .lookups = 0, .inherited = true};
    newest_slot_ = std::max(newest_slot_, slot);
  }
}

void SessionNodes::EndUnlinked(const std::vector<Ino>& inos) {
  for (const Ino ino : inos) {
    const std::lock_guard lock(lookups_mutex_);
    if (!lookups_.contains(ino)) EndIfUnlinked(ino);
  }
}

std::vector<Ino> SessionNodes::UnlinkedAndKnown() {
  const std::lock_guard lock(lookups_mutex_);
  std::vector<Ino> inos = volume_->Unlinked();
  std::erase_if(inos, [this](Ino ino) { return !lookups_.contains(ino); });
  return inos;
}

void SessionNodes::EndForgotten() {
  std::vector<Ino> unlinked;
  {
    const std::lock_guard lock(lookups_mutex_);
    unlinked.swap(inherited_unlinked_);
    std::erase_if(unlinked, [this](Ino ino) { return lookups_.contains(ino); });
  }
  for (const Ino ino : unlinked) EndIfUnlinked(ino);
}

}  // namespace rw
