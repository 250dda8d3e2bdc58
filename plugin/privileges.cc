#include "plugin/privileges.h"

#include <linux/capability.h>
#include <spdlog/spdlog.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>

namespace rw {
namespace {

// mount(2) and umount(2). Everything else that is done is what root may do as a user: its files are
// its own, and the permissions inside volumes are checked by the kernel for those who ask.
constexpr uint64_t kNeeded = 1ULL << CAP_SYS_ADMIN;
constexpr mode_t kUmask = 077;

void Warn(const char* what) { spdlog::warn("cannot give up {}: {}", what, std::strerror(errno)); }

// The limit of what execve(2) gives to root. The kernel says which one is the last that it knows.
void LimitExecution() {
  for (int capability = 0; prctl(PR_CAPBSET_READ, capability) >= 0; ++capability) {
    if ((kNeeded >> capability & 1) != 0 || prctl(PR_CAPBSET_READ, capability) == 0) continue;
    if (prctl(PR_CAPBSET_DROP, capability) == 0) continue;
    // It is then held by whoever started this: what is gained by nothing need not be limited.
    if (errno != EPERM) Warn("what executing may give");
    return;
  }
}

void Limit() {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  std::array<__user_cap_data_struct, _LINUX_CAPABILITY_U32S_3> sets{};
  if (syscall(SYS_capget, &header, sets.data()) != 0) return Warn("capabilities");
  for (size_t i = 0; i < sets.size(); ++i) {
    const auto needed = static_cast<uint32_t>(kNeeded >> (32 * i));
    sets[i].permitted &= needed;
    sets[i].effective &= needed;
    sets[i].inheritable = 0;
  }
  if (syscall(SYS_capset, &header, sets.data()) != 0) Warn("capabilities");
}

}  // namespace

void GiveUpPrivileges() {
  umask(kUmask);
  LimitExecution();
  prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  Limit();
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) Warn("new privileges");
}

}  // namespace rw
