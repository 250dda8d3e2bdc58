#include "plugin/keeper.h"

#include <poll.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>

#include "fs/session_threads.h"
#include "metadata/refused.h"
#include "plugin/channel.h"

namespace rw {
namespace {

constexpr std::chrono::milliseconds kBetweenBeats{1000};
// Longer than the supervisor's with the program that is to take over.
constexpr std::chrono::milliseconds kUpgradePatience{60'000};

void Send(int channel, ChannelMessage::Kind kind, KeptEntry entry) {
  const std::string key = entry.key;
  if (!SendMessage(channel, {kind, std::move(entry)}))
    spdlog::error("the supervisor cannot be told of {}: {}", key, std::strerror(errno));
}

std::string KeyOfRemoval(const std::string& name) {
  std::string key = kKeyOfRemoval;
  for (const char c : name) {
    constexpr char kDigits[] = "0123456789abcdef";
    key += kDigits[static_cast<unsigned char>(c) >> 4];
    key += kDigits[static_cast<unsigned char>(c) & 15];
  }
  return key;
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

// Dropping takes all keys that go on with '#', which a name may have: so it is not in the key.
void Keeper::PutRemoval(const std::string& name) {
  Send(channel_, ChannelMessage::Kind::kPut, {KeyOfRemoval(name), name, {}});
}

void Keeper::DropRemoval(const std::string& name) {
  Send(channel_, ChannelMessage::Kind::kDrop, {KeyOfRemoval(name), "", {}});
}

void Keeper::Upgrade() {
  const std::lock_guard lock(upgrade_mutex_);
  while (ReceiveMessage(channel_)) {  // an answer to an earlier request that waits no more
  }
  Send(channel_, ChannelMessage::Kind::kUpgrade, {});
  pollfd waiting{channel_, POLLIN, 0};
  while (poll(&waiting, 1, static_cast<int>(kUpgradePatience.count())) < 0 && errno == EINTR) {
  }
  const std::optional<ChannelMessage> answer = ReceiveMessage(channel_);
  throw Refused(ECANCELED, "no upgrade: " + (answer ? answer->entry.value
                                                    : std::string("the supervisor is silent")));
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
  // Mounts that are to come to rest sooner are looked at more often.
  const auto between_beats = std::clamp(RestAfter(), std::chrono::milliseconds(1), kBetweenBeats);
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
    changed_.wait_for(lock, between_beats, [this] { return ending_; });
  }
}

}  // namespace rw
