#include "plugin/server_loopback.h"

#include <arpa/inet.h>
#include <httplib.h>
#include <spdlog/spdlog.h>

#include <cerrno>
#include <charconv>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <nlohmann/json.hpp>

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
  httplib::Server server;
  errno = 0;
  if (server.bind_to_port(address.host, address.port)) return;
  throw Refused(errno == 0 ? EADDRINUSE : errno,
                "cannot listen on " + address.host + " port " + std::to_string(address.port) +
                    " for metrics: it is taken, or not permitted; choose another "
                    "--metrics-address");
}

class LoopbackServer::State {
 public:
  State(LoopbackAddress address, std::function<Volumes*()> volumes)
      : address_(std::move(address)), volumes_(std::move(volumes)), thread_([this] { Run(); }) {}
  ~State() {
    {
      const std::lock_guard lock(mutex_);
      ending_ = true;
      changed_.notify_all();
      if (server_ != nullptr) server_->stop();
    }
    thread_.join();
  }
  State(const State&) = delete;
  State& operator=(const State&) = delete;

 private:
  void SetUp(httplib::Server* server) const {
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
        lock.unlock();
        server_->listen_after_bind();
        lock.lock();
        said = false;
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
  std::unique_ptr<httplib::Server> server_;
  std::thread thread_;
};

LoopbackServer::LoopbackServer(LoopbackAddress address, std::function<Volumes*()> volumes) {
  if (!address.host.empty())
    state_ = std::make_unique<State>(std::move(address), std::move(volumes));
}

LoopbackServer::~LoopbackServer() = default;

}  // namespace rw
