#include "plugin/server_loopback.h"

#include <arpa/inet.h>
#include <httplib.h>
#include <netdb.h>
#include <spdlog/spdlog.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <nlohmann/json.hpp>
#include <thread>

#include "metadata/quoted.h"
#include "metadata/refused.h"
#include "plugin/health.h"
#include "plugin/metrics.h"

namespace rw {
namespace {

constexpr std::chrono::seconds kBetweenTries{5};
constexpr size_t kThreads = 2;
constexpr time_t kPatienceSeconds = 5;

bool IsLoopback(const std::string& host) {
  in_addr four{};
  if (inet_pton(AF_INET, host.c_str(), &four) == 1) return (ntohl(four.s_addr) >> 24) == 127;
  in6_addr six{};
  return inet_pton(AF_INET6, host.c_str(), &six) == 1 && IN6_IS_ADDR_LOOPBACK(&six);
}

// The port of somebody who has just ended may be used, that of somebody who listens may not, as it
// could with the options that httplib sets: connections would go to either.
void ShareNothing(socket_t socket) {
  const int yes = 1;
  setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
}

}  // namespace

LoopbackAddress ParseLoopbackAddress(const std::string& text) {
  if (text == "none") return {};
  const auto refuse = [&](const char* why) {
    throw Refused(EINVAL, "metrics-address=" + Quoted(text) + " refused: " + why +
                              "; accepted are a loopback address and a port, such as "
                              "127.0.0.1:9876 or [::1]:9876, and none");
  };
  const size_t colon = text.rfind(':');
  if (colon == std::string::npos) refuse("it has no port");
  LoopbackAddress address;
  address.host = text.substr(0, colon);
  if (address.host.starts_with('[') && address.host.ends_with(']'))
    address.host = address.host.substr(1, address.host.size() - 2);
  const char* const end = text.data() + text.size();
  const auto parsed = std::from_chars(text.data() + colon + 1, end, address.port);
  if (parsed.ec != std::errc() || parsed.ptr != end || address.port < 1 || address.port > 65535)
    refuse("a port is a number from 1 to 65535");
  if (!IsLoopback(address.host)) {
    refuse("other machines could ask there, and there is no password; let a proxy ask for them");
  }
  return address;
}

void TryToListen(const LoopbackAddress& address) {
  if (address.host.empty()) return;
  // Not httplib's server: one that never listens keeps its socket, and would be sent connections.
  addrinfo numeric{};
  numeric.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
  numeric.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  int error = EADDRNOTAVAIL;
  if (getaddrinfo(address.host.c_str(), std::to_string(address.port).c_str(), &numeric, &found) ==
      0) {
    const int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0) ShareNothing(fd);
    const bool listens =
        fd >= 0 && bind(fd, found->ai_addr, found->ai_addrlen) == 0 && listen(fd, 1) == 0;
    error = listens ? 0 : errno;
    if (fd >= 0) close(fd);
    freeaddrinfo(found);
  }
  if (error == 0) return;
  throw Refused(error, "cannot listen on " + address.host + " port " +
                           std::to_string(address.port) + " for metrics: " + std::strerror(error) +
                           "; choose another --metrics-address");
}

class LoopbackServer::State {
 public:
  State(LoopbackAddress address, std::function<Volumes*()> volumes)
      : address_(std::move(address)), volumes_(std::move(volumes)), thread_([this] { Run(); }) {}
  ~State() {
    {
      std::unique_lock lock(mutex_);
      ending_ = true;
      changed_.notify_all();
      // One that is about to listen does not hear that it is to stop.
      while (serving_ && !server_->is_running()) {
        lock.unlock();
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
        lock.lock();
      }
      if (serving_) server_->stop();
    }
    thread_.join();
  }
  State(const State&) = delete;
  State& operator=(const State&) = delete;

 private:
  void SetUp(httplib::Server* server) const {
    server->set_socket_options(ShareNothing);
    server->new_task_queue = [] { return new httplib::ThreadPool(kThreads); };
    server->set_keep_alive_max_count(1);
    server->set_read_timeout(kPatienceSeconds);
    server->set_write_timeout(kPatienceSeconds);
    server->set_payload_max_length(0);
    server->Get("/metrics", [this](const httplib::Request&, httplib::Response& response) {
      Volumes* volumes = volumes_();
      response.status = volumes == nullptr ? 503 : 200;
      if (volumes != nullptr) response.set_content(MetricsText(*volumes), kMetricsContentType);
    });
    server->Get("/health", [this](const httplib::Request&, httplib::Response& response) {
      Volumes* volumes = volumes_();
      const nlohmann::json health = volumes == nullptr ? HealthWhileOpening() : HealthOf(*volumes);
      response.status = HttpStatusOf(health);
      response.set_content(health.dump() + "\n", "application/json");
    });
  }

  // The next daemon must not fail because something has the port: it has mounts to go on with.
  void Run() {
    bool said = false;
    std::unique_lock lock(mutex_);
    while (!ending_) {
      server_ = std::make_unique<httplib::Server>();
      SetUp(server_.get());
      if (server_->bind_to_port(address_.host, address_.port)) {
        spdlog::info("metrics are on http://{}:{}/metrics", address_.host, address_.port);
        serving_ = true;
        lock.unlock();
        server_->listen_after_bind();
        lock.lock();
        serving_ = said = false;
      } else if (!said) {
        spdlog::error("metrics wait for port {} of {}, which is taken", address_.port,
                      address_.host);
        said = true;
      }
      changed_.wait_for(lock, kBetweenTries, [this] { return ending_; });
    }
  }

  const LoopbackAddress address_;
  const std::function<Volumes*()> volumes_;
  std::mutex mutex_;  // guards what follows
  std::condition_variable changed_;
  bool ending_ = false;
  bool serving_ = false;
  std::unique_ptr<httplib::Server> server_;
  std::thread thread_;
};

LoopbackServer::LoopbackServer(LoopbackAddress address, std::function<Volumes*()> volumes) {
  if (!address.host.empty())
    state_ = std::make_unique<State>(std::move(address), std::move(volumes));
}

LoopbackServer::~LoopbackServer() = default;

}  // namespace rw
