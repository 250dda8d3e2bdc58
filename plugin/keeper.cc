#include "plugin/keeper.h"

#include <spdlog/spdlog.h>

#include <chrono>
#include <cstring>

#include "plugin/channel.h"

namespace rw {
namespace {

constexpr std::chrono::seconds kBetweenBeats{1};

void Send(int channel, ChannelMessage::Kind kind, KeptEntry entry) {
  const std::string key = entry.key;
  if (!SendMessage(channel, {kind, std::move(entry)}))
    spdlog::error("the supervisor cannot be told of {}: {}", key, std::strerror(errno));
}

}  // namespace

void Keeper::Put(const KeptMount& mount, bool with_descriptors) {
  Send(channel_, ChannelMessage::Kind::kPut, EncodeMount(mount, with_descriptors));
}

void Keeper::PutView(const std::string& mountpoint, uint64_t slot, std::optional<Instant> at) {
  if (at) {
    Send(channel_, ChannelMessage::Kind::kPut, EncodeView(mountpoint, slot, *at));
  } else {
    Send(channel_, ChannelMessage::Kind::kDrop, {KeyOfView(mountpoint, slot), "", {}});
  }
}

void Keeper::Drop(const std::string& mountpoint) {
  Send(channel_, ChannelMessage::Kind::kDrop, {mountpoint, "", {}});
}

void Keeper::Beat() { SendMessage(channel_, {ChannelMessage::Kind::kBeat, {}}, false); }

void Keeper::Ready() { Send(channel_, ChannelMessage::Kind::kReady, {}); }

Heartbeat::Heartbeat(Keeper* keeper) : keeper_(keeper), thread_([this] { Run(); }) {}

Heartbeat::~Heartbeat() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void Heartbeat::Probe(std::function<void()> probe) {
  const std::lock_guard lock(mutex_);
  probe_ = std::move(probe);
}

void Heartbeat::Run() {
  std::unique_lock lock(mutex_);
  while (!ending_) {
    if (const std::function<void()> probe = probe_) {
      lock.unlock();
      try {
        probe();
      } catch (const std::exception&) {  // an answer too
      }
      lock.lock();
    }
    keeper_->Beat();
    changed_.wait_for(lock, kBetweenBeats, [this] { return ending_; });
  }
}

}  // namespace rw
