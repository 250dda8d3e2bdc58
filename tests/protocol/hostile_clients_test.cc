// Goal: whatever clients do, the daemon goes on answering everybody else, and holds afterwards what
// it held before: counts, mounts, descriptors, threads, memory.
//
// Method: a real daemon. Clients that send a part of a request and nothing more, a byte at a time,
// or hang up at any byte; thousands of connections one after the other and at once. What the daemon
// holds is read from /proc after a first round, which lets caches grow, and after a second.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "plugin/unix_socket.h"
#include "tests/support/daemon_process.h"
#include "tests/support/random.h"
#include "tests/support/resources.h"

namespace rw {
namespace {

using ::testing::HasSubstr;
using Json = nlohmann::json;

// More than the daemon has threads for requests.
constexpr size_t kManyClients = 200;
// What a heap that is used by many threads may grow by, for good, without a leak. A leaked request
// of those below is 100 bytes and its buffers, so that 10 000 of them are more than a half of this
// when each leaks just one buffer.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr uint64_t kSlackKib = 4 << 20;  // sanitizers keep much of their own
#else
constexpr uint64_t kSlackKib = 16 << 10;
#endif

std::string HttpRequest(const std::string& endpoint, const std::string& body) {
  return "POST /" + endpoint +
         " HTTP/1.1\r\nHost: x\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" +
         body;
}

std::string RequestAbout(const std::string& endpoint, const std::string& name,
                         const std::string& id = "c") {
  return HttpRequest(endpoint, Json{{"Name", name}, {"ID", id}}.dump());
}

class Client {
 public:
  explicit Client(const testing::DaemonProcess& daemon) : fd_(ConnectTo(daemon.socket())) {}
  ~Client() {
    if (fd_ >= 0) close(fd_);
  }
  Client(Client&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Client& operator=(Client&&) = delete;

  bool connected() const { return fd_ >= 0; }
  bool Send(const std::string& bytes) const {
    return send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL) ==
           static_cast<ssize_t>(bytes.size());
  }
  // Until the daemon closes the connection.
  std::string Receive() const {
    std::string all;
    char buffer[4096];
    for (ssize_t got; (got = recv(fd_, buffer, sizeof(buffer), 0)) > 0;)
      all.append(buffer, static_cast<size_t>(got));
    return all;
  }

 private:
  int fd_;
};

class HostileClientsTest : public ::testing::Test {
 protected:
  testing::Resources Held() const {
    return testing::ResourcesOf(daemon_.daemon(), daemon_.mounts());
  }
  // Twice the same: the second time, nothing may be added.
  template <typename Round>
  void HoldsNoMoreAfter(const Round& round) {
    const testing::Resources at_first = Held();
    round();
    const testing::Resources before =
        testing::WaitForNoMoreThan(at_first, daemon_.daemon(), daemon_.mounts());
    round();
    const testing::Resources after =
        testing::WaitForNoMoreThan(at_first, daemon_.daemon(), daemon_.mounts());
    EXPECT_TRUE(testing::HoldsNoMore(after, at_first)) << after << ", before: " << at_first;
    EXPECT_LE(after.resident_kib, before.resident_kib + kSlackKib) << after << ", " << before;
    std::cout << "held at first: " << at_first << "; in the end: " << after << std::endl;
  }
  void Create(const std::string& name) const {
    ASSERT_EQ(daemon_.Post("VolumeDriver.Create", {{"Name", name}, {"Opts", nullptr}}),
              (Json{{"Err", ""}}));
  }
  // Fails if the answer takes five seconds.
  void ExpectAnswer(const std::string& name) const {
    EXPECT_EQ(daemon_.Post("VolumeDriver.Get", {{"Name", name}})["Err"], "");
  }

  std::set<std::string> Holders(const std::string& name) const {
    return daemon_.Post("VolumeDriver.Get", {{"Name", name}})["Volume"]["Status"]["mounted_by"];
  }

  testing::DaemonProcess daemon_;
};

TEST_F(HostileClientsTest, ThoseThatNeverFinishKeepNobodyWaiting) {
  Create("v");
  const std::string whole = RequestAbout("VolumeDriver.Get", "v");
  HoldsNoMoreAfter([&] {
    std::vector<Client> silent;
    for (size_t i = 0; i < kManyClients; ++i) {
      silent.emplace_back(daemon_);
      ASSERT_TRUE(silent.back().connected());
      silent.back().Send(whole.substr(0, i % whole.size()));
    }
    ExpectAnswer("v");
    // The rest may come after all.
    for (size_t i = 0; i < kManyClients; ++i) silent[i].Send(whole.substr(i % whole.size()));
    for (const Client& client : silent) EXPECT_THAT(client.Receive(), HasSubstr("\"Err\":\"\""));
  });
}

TEST_F(HostileClientsTest, ARequestMayComeAByteAtATime) {
  Create("v");
  for (const std::string& request :
       {RequestAbout("VolumeDriver.Get", "v"),
        std::string("POST /VolumeDriver.Get HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
                    "8\r\n{\"Name\":\r\n4\r\n\"v\"}\r\n0\r\n\r\n")}) {
    const Client client(daemon_);
    for (const char byte : request) ASSERT_TRUE(client.Send(std::string(1, byte)));
    EXPECT_THAT(client.Receive(), HasSubstr("\"Err\":\"\""));
  }
}

// Those that do not take their answers, too.
TEST_F(HostileClientsTest, ThoseThatHangUpLeaveNothing) {
  const uint64_t seed = testing::NumberFromEnvironment("REWIND_SEED", 1);
  const uint64_t hang_ups = testing::NumberFromEnvironment("REWIND_OPS", 2000);
  SCOPED_TRACE("REWIND_SEED=" + std::to_string(seed));
  testing::Random random(seed);
  Create("v");
  HoldsNoMoreAfter([&] {
    std::set<std::string> mounted;
    for (uint64_t i = 0; i < hang_ups; ++i) {
      const Client client(daemon_);
      ASSERT_TRUE(client.connected());
      switch (random.Below(4)) {
        case 0: {  // a request that says all but its last byte is none
          const std::string request = RequestAbout("VolumeDriver.Create", "never");
          client.Send(request.substr(0, random.Below(request.size())));
          break;
        }
        case 1: {
          const std::string request = RequestAbout("VolumeDriver.Mount", "v", "never");
          client.Send(request.substr(0, random.Below(request.size())));
          break;
        }
        case 2:
          client.Send(RequestAbout("VolumeDriver.Get", "v"));
          break;
        case 3: {  // whole: it counts, although nobody waits for the answer
          const std::string id = std::to_string(i);
          if (client.Send(RequestAbout("VolumeDriver.Mount", "v", id))) mounted.insert(id);
          break;
        }
      }
    }
    // Requests are worked on in any order, so all of them have to be waited for.
    const auto end = std::chrono::steady_clock::now() + std::chrono::minutes(1);
    while (Holders("v") != mounted && std::chrono::steady_clock::now() < end)
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    EXPECT_EQ(Holders("v"), mounted);
    for (const std::string& id : mounted)
      daemon_.Post("VolumeDriver.Unmount", {{"Name", "v"}, {"ID", id}});
    ExpectAnswer("v");
  });
  EXPECT_NE(daemon_.Post("VolumeDriver.Get", {{"Name", "never"}})["Err"], "");
  EXPECT_EQ(daemon_.Post("Rewind.FindMount", {{"ID", "never"}})["Name"], "");
  EXPECT_EQ(daemon_.Post("VolumeDriver.Remove", {{"Name", "v"}})["Err"], "");
}

TEST_F(HostileClientsTest, TenThousandOneAfterTheOther) {
  Create("v");
  const std::string request = RequestAbout("VolumeDriver.Path", "v");
  HoldsNoMoreAfter([&] {
    for (int i = 0; i < 5000; ++i) ASSERT_THAT(daemon_.Exchange(request), HasSubstr("200 OK"));
  });
}

TEST_F(HostileClientsTest, AsManyAtOnceAsThereAreDescriptors) {
  Create("v");
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  const rlimit before = limit;
  limit.rlim_cur = limit.rlim_max;
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
  constexpr rlim_t kOthers = 100, kTenThousand = 10'000;
  const size_t count = std::min(limit.rlim_max - kOthers, kTenThousand);
  HoldsNoMoreAfter([&] {
    std::vector<Client> clients;
    for (size_t i = 0; i < count; ++i) {
      clients.emplace_back(daemon_);
      ASSERT_TRUE(clients.back().connected()) << i << ": " << strerror(errno);
      if (i % 3 == 1) clients.back().Send("POST /Volume");
      if (i % 3 == 2) clients.back().Send(RequestAbout("VolumeDriver.Path", "v"));
    }
    ExpectAnswer("v");
    size_t answered = 0;
    for (size_t i = 2; i < count; i += 3)
      answered += clients[i].Receive().find("200 OK") != std::string::npos;
    EXPECT_EQ(answered, count / 3) << "whole requests are answered, however many are not";
  });
  std::cout << count << " connections at once" << std::endl;
  setrlimit(RLIMIT_NOFILE, &before);
}

}  // namespace
}  // namespace rw
