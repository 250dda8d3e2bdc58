// The daemon's side of its supervisor: what is to outlive the daemon goes there.
//
// Thread safety: all methods may be called from any thread.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>

#include "plugin/kept_mount.h"

namespace rw {

class Keeper : public MountKeeper {
 public:
  explicit Keeper(int channel) : channel_(channel) {}

  void Put(const KeptMount& mount, bool with_descriptors) override;
  void PutView(const std::string& mountpoint, uint64_t slot, std::optional<Instant> at) override;
  void Drop(const std::string& mountpoint) override;
  void PutRemoval(const std::string& name) override;
  void DropRemoval(const std::string& name) override;
  void Upgrade() override;

  void Beat();
  void Ready();  // the volumes answer

 private:
  const int channel_;
  std::mutex upgrade_mutex_;  // for who waits for an answer
};

// Tells the supervisor once a second that the daemon lives: as long as `probe` returns.
class Heartbeat {
 public:
  explicit Heartbeat(Keeper* keeper);
  ~Heartbeat();
  Heartbeat(const Heartbeat&) = delete;
  Heartbeat& operator=(const Heartbeat&) = delete;

  // Before this, only that the process lives is told: a recovery may take long.
  void Probe(std::function<void()> probe);

 private:
  void Run();

  Keeper* keeper_;
  std::mutex mutex_;  // guards what follows
  std::condition_variable changed_;
  std::function<void()> probe_;
  bool ending_ = false;
  std::thread thread_;
};

}  // namespace rw
