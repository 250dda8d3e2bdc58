// Goal: monitoring gets true figures: counts are those of what programs did, every figure that the
// alert rules and the dashboard name is there, health says what is wrong, the port is only this
// machine's, and the log can be changed while the daemon runs.
// Method: the real binary, once as the daemon and once as the command; programs on mounts.
#include <arpa/inet.h>
#include <fcntl.h>
#include <httplib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <fstream>
#include <random>
#include <regex>
#include <set>
#include <thread>

#include "tests/support/command_line_test.h"

namespace rw {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using Json = nlohmann::json;
namespace stdfs = std::filesystem;

std::string ReadSource(const std::string& name) {
  std::ifstream file(stdfs::path(REWIND_SOURCE_DIR) / name);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

// Of names that are asked for, and of names that are there. A histogram has three.
std::set<std::string> NamesIn(const std::string& text) {
  static const std::regex pattern("rewind_[a-z_]+");
  std::set<std::string> names;
  for (std::sregex_iterator it(text.begin(), text.end(), pattern), end; it != end; ++it)
    names.insert(it->str());
  return names;
}

class WatchTest : public testing::CommandLineTest {
 protected:
  // The value of a metric with these labels, as it is printed.
  std::string Metric(const std::string& name_and_labels) const {
    const std::string text = "\n" + Done({"metrics"});
    const size_t at = text.find("\n" + name_and_labels + " ");
    if (at == std::string::npos) return "absent";
    const size_t from = at + name_and_labels.size() + 2;
    return text.substr(from, text.find('\n', from) - from);
  }
  // A request is counted after its answer: a program may be faster.
  void ExpectSoon(const std::string& name_and_labels, const std::string& value) const {
    constexpr int kTries = 500;
    for (int i = 0; i < kTries && Metric(name_and_labels) != value; ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    EXPECT_EQ(Metric(name_and_labels), value) << name_and_labels;
  }
};

TEST_F(WatchTest, CountsAreThoseOfWhatProgramsDid) {
  Done({"create", "v"});
  const stdfs::path v = MakeDirectory("m");
  Done({"mount", "v", v});
  const int file = open((v / "f").c_str(), O_CREAT | O_RDWR, 0644);
  const std::string block(4096, 'x');
  for (int i = 0; i < 10; ++i) ASSERT_EQ(pwrite(file, block.data(), block.size(), i * 4096), 4096);
  for (int i = 0; i < 3; ++i) {
    ASSERT_EQ(pwrite(file, block.data(), block.size(), i * 4096), 4096);
    ASSERT_EQ(fsync(file), 0);
  }
  close(file);
  EXPECT_NE(mkdir((v / "f").c_str(), 0755), 0);
  ExpectSoon("rewind_volume_requests_total{volume=\"v\",kind=\"write\"}", "13");
  ExpectSoon("rewind_volume_requests_total{volume=\"v\",kind=\"fsync\"}", "3");
  ExpectSoon("rewind_volume_written_bytes_total{volume=\"v\"}", "53248");
  ExpectSoon("rewind_request_seconds_count{kind=\"write\"}", "13");
  ExpectSoon("rewind_request_seconds_bucket{kind=\"write\",le=\"+Inf\"}", "13");
  EXPECT_EQ(Metric("rewind_request_errors_total{errno=\"EIO\"}"), "0");
  EXPECT_EQ(Metric("rewind_volume_broken{volume=\"v\"}"), "0");
  EXPECT_EQ(Metric("rewind_daemon_restarts_total"), "0");
  Done({"collect"});
  EXPECT_NE(Metric("rewind_collector_runs_total"), "0");
  // Sums begin again with the daemon; that there was another does not.
  daemon_.EndDaemon(SIGKILL);
  EXPECT_EQ(Metric("rewind_daemon_restarts_total"), "1");
  Done({"umount", v});
  Done({"rm", "v"});
  EXPECT_THAT(Done({"metrics"}), Not(HasSubstr("volume=\"v\"")));
}

TEST_F(WatchTest, RulesAndDashboardNameWhatIsThere) {
  Done({"create", "v"});
  const std::set<std::string> there = NamesIn(Done({"metrics"}));
  ASSERT_GT(there.size(), 25u);
  std::set<std::string> named;
  for (const char* file : {"contrib/prometheus-alerts.yml", "contrib/grafana-dashboard.json"}) {
    const std::set<std::string> names = NamesIn(ReadSource(file));
    EXPECT_GT(names.size(), 5u) << file;
    for (const std::string& name : names) EXPECT_TRUE(there.contains(name)) << file << ": " << name;
    named.insert(names.begin(), names.end());
  }
  const Json dashboard = Json::parse(ReadSource("contrib/grafana-dashboard.json"));
  EXPECT_GT(dashboard.at("panels").size(), 10u);
  // What nobody looks at is not worth its place.
  for (const std::string& name : there) {
    const std::string base = std::regex_replace(name, std::regex("_(bucket|sum|count)$"), "");
    bool used = false;
    for (const std::string& each : named) used = used || each.starts_with(base);
    EXPECT_TRUE(used) << name;
  }
}

// What promtool would look at first; Debian has it only with all of Prometheus.
TEST(AlertRulesTest, AreRules) {
  std::istringstream rules(ReadSource("contrib/prometheus-alerts.yml"));
  std::vector<std::string> keys;
  size_t alerts = 0;
  static const std::regex line_pattern(
      R"((groups:|  - name: \w+|    rules:|      - alert: (\w+)|        (expr|for): (.+)|        (labels|annotations):|          (severity|summary|description): (.+)|#.*))");
  static const std::regex duration(R"(\d+[smhd])");
  for (std::string line; std::getline(rules, line);) {
    std::smatch match;
    ASSERT_TRUE(std::regex_match(line, match, line_pattern)) << line;
    alerts += match[2].matched;
    if (match[3] == "for") {
      EXPECT_TRUE(std::regex_match(match[4].str(), duration)) << line;
    }
    if (match[3] == "expr") {
      const std::string expression = match[4];
      EXPECT_EQ(std::count(expression.begin(), expression.end(), '('),
                std::count(expression.begin(), expression.end(), ')'))
          << line;
      EXPECT_THAT(expression, Not(::testing::StartsWith("{"))) << line;
    }
    if (match[6] == "severity") {
      EXPECT_THAT(match[7].str(), ::testing::AnyOf("critical", "warning"));
    }
    if (match[6] == "summary") {
      EXPECT_TRUE(Json::accept(match[7].str())) << line;
    }
  }
  EXPECT_GT(alerts, 5u);
}

TEST_F(WatchTest, HealthSaysWhatIsWrong) {
  Done({"create", "v"});
  const Json health = DoneJson({"health"});
  EXPECT_EQ(health.at("status"), "ok");
  EXPECT_THAT(daemon_.Exchange("GET /health HTTP/1.1\r\n\r\n"),
              AllOf(HasSubstr("200 OK"), HasSubstr("\"ok\"")));
  // A reserve that no disk has.
  daemon_.Stop();
  daemon_.Restart({{"REWIND_RESERVE", "4096P"}});
  const testing::RunResult result = Rewind({"health"});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.out, AllOf(HasSubstr("degraded"), HasSubstr("less than the reserve")));
  EXPECT_THAT(daemon_.Exchange("GET /health HTTP/1.1\r\n\r\n"), HasSubstr("200 OK"));
  daemon_.Stop();
  EXPECT_EQ(Rewind({"health"}).exit_code, 2);
}

TEST_F(WatchTest, ABrokenVolumeFailsHealth) {
  Done({"create", "v"});
  const stdfs::path v = MakeDirectory("m");
  Done({"mount", "v", v});
  std::ofstream(v / "f") << std::string(100'000, 'x');
  testing::Run({"sync", v / "f"});
  // This one says of the one before that it had reached the disk, so it cannot be a torn end.
  std::ofstream(v / "g") << "later";
  testing::Run({"sync", v / "g"});
  daemon_.Kill();
  testing::Run({"umount", "-l", v});
  for (const auto& entry : stdfs::recursive_directory_iterator(daemon_.root() / "journal")) {
    if (entry.path().extension() != ".seg" || entry.path().parent_path().filename() == "0")
      continue;
    std::fstream file(entry.path());
    file.seekp(150);  // in one of the first operations
    file << std::string(60'000, 'y');
  }
  daemon_.Restart();
  const testing::RunResult result = Rewind({"health"});
  if (Metric("rewind_volume_broken{volume=\"v\"}") == "1") {
    EXPECT_EQ(result.exit_code, 1);
    EXPECT_THAT(result.out, AllOf(HasSubstr("failing"), HasSubstr("broken")));
    EXPECT_THAT(daemon_.Exchange("GET /health HTTP/1.1\r\n\r\n"), HasSubstr("503"));
  } else {
    ADD_FAILURE() << "the damage was not met: " << result.out << daemon_.log();
  }
}

// A port of this moment's: whoever takes it meanwhile makes the daemon wait, not fail. It is not
// one of those that connections begin at: a client that tries again and again would some time be
// given the very port, and be connected with itself.
int FreePort() {
  int first_of_clients = 0;
  std::ifstream("/proc/sys/net/ipv4/ip_local_port_range") >> first_of_clients;
  std::random_device random;
  for (;;) {
    const int port = std::uniform_int_distribution<int>(1024, first_of_clients - 1)(random);
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(static_cast<uint16_t>(port));
    const bool is_free = bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
    close(fd);
    if (is_free) return port;
  }
}

TEST_F(WatchTest, ALoopbackPortAnswersTheSame) {
  const int port = FreePort();
  daemon_.Stop();
  daemon_.Restart({{"REWIND_METRICS_ADDRESS", "127.0.0.1:" + std::to_string(port)}});
  Done({"create", "v"});
  httplib::Client client("127.0.0.1", port);
  const auto get = [&client](const char* path) {
    httplib::Result result = client.Get(path);
    // It listens soon, and then knows the volumes soon.
    while (!result || result->status == 503) {
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
      result = client.Get(path);
    }
    return result;
  };
  EXPECT_THAT(get("/metrics")->body, HasSubstr("rewind_volume_live_bytes{volume=\"v\"} 0\n"));
  EXPECT_EQ(get("/health")->status, 200);
  EXPECT_EQ(get("/volumes")->status, 404);
  // The answer may be lost, for what was sent with the request is not even read.
  const httplib::Result posted =
      client.Post("/VolumeDriver.Remove", R"({"Name":"v"})", "application/json");
  EXPECT_TRUE(!posted || posted->status >= 400);
  Done({"inspect", "v"});
  // The next daemon has it, too.
  daemon_.EndDaemon(SIGKILL);
  EXPECT_THAT(get("/metrics")->body, HasSubstr("rewind_daemon_restarts_total 1\n"));
}

TEST_F(WatchTest, APortThatSomebodyHasIsRefused) {
  const int port = FreePort();
  httplib::Server other;  // one that would share it
  ASSERT_TRUE(other.bind_to_port("127.0.0.1", port));
  const testing::RunResult result = testing::Run(
      {REWIND_BINARY, "serve", "--root", daemon_.directory() / "other root", "--socket",
       daemon_.directory() / "other.sock", "--mounts", daemon_.directory() / "other mounts",
       "--metrics-address", "127.0.0.1:" + std::to_string(port)});
  ExpectRefusal(result);
  EXPECT_THAT(result.err, HasSubstr("Address already in use"));
}

TEST_F(WatchTest, OtherAddressesAreRefused) {
  for (const char* address : {"0.0.0.0:9876", "192.0.2.1:9876", "[::]:9876", "localhost:9876",
                              "127.0.0.1", "127.0.0.1:0", "127.0.0.1:70000", "9876", ""}) {
    const testing::RunResult result =
        testing::Run({REWIND_BINARY, "serve", "--root", daemon_.directory() / "other root",
                      "--socket", daemon_.directory() / "other.sock", "--mounts",
                      daemon_.directory() / "other mounts", "--metrics-address", address});
    ExpectRefusal(result);
    EXPECT_THAT(result.err, HasSubstr("metrics-address")) << address;
    EXPECT_FALSE(stdfs::exists(daemon_.directory() / "other root"));
  }
}

TEST_F(WatchTest, TopShowsRates) {
  Done({"create", "busy"});
  Done({"create", "idle"});
  const stdfs::path directory = MakeDirectory("m");
  Done({"mount", "busy", directory});
  std::ofstream file(directory / "f");
  std::atomic<bool> end{false};
  std::thread writer([&] {
    while (!end) file << "x" << std::flush;
  });
  Json list;
  do {  // however seldom the writer gets its turn
    list = DoneJson({"top", "--interval", "0.3"});
  } while (list.at(0).at("writes_per_second") == 0.0);
  const std::string text = Done({"top", "--once", "--interval", "0.3"});
  end = true;
  writer.join();
  file.close();
  ASSERT_EQ(list.size(), 2u);
  EXPECT_EQ(list[0].at("name"), "busy");
  EXPECT_GT(list[0].at("writes_per_second"), 0.0);
  EXPECT_GT(list[0].at("written_bytes_per_second"), 0.0);
  EXPECT_GT(list[0].at("writes_seconds"), 0.0);
  EXPECT_EQ(list[1].at("writes_per_second"), 0.0);
  EXPECT_TRUE(list[1].at("writes_seconds").is_null());
  EXPECT_THAT(text, AllOf(HasSubstr("NAME"), HasSubstr("\nbusy"), HasSubstr("\nidle")));
  EXPECT_THAT(RefusedLine({"top", "--interval", "0"}), HasSubstr("0.1"));
  Done({"umount", directory});
}

TEST_F(WatchTest, TheLogChangesWhileTheDaemonRuns) {
  EXPECT_EQ(Done({"log-level"}), "debug\n");
  EXPECT_EQ(Done({"log-level", "info"}), "info\n");
  Done({"ls"});
  EXPECT_THAT(daemon_.log(), Not(HasSubstr("Rewind.List")));
  EXPECT_EQ(Done({"log-level", "debug"}), "debug\n");
  Done({"ls"});
  EXPECT_THAT(daemon_.log(), HasSubstr("debug Rewind.List"));
  EXPECT_THAT(RefusedLine({"log-level", "loud"}), HasSubstr("debug, info, warning or error"));
  EXPECT_EQ(DoneJson({"log-level"}).at("level"), "debug");
}

TEST_F(WatchTest, ALogInJsonIsOneObjectALine) {
  daemon_.Stop();
  daemon_.Restart({{"REWIND_LOG_FORMAT", "json"}});
  const std::string before = daemon_.log();
  RefusedLine({"inspect", "quote\" and \xff"}, kExitRefused);
  std::istringstream lines(daemon_.log());
  size_t objects = 0;
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with("{")) continue;  // of the daemon before
    const Json object = Json::parse(line);
    EXPECT_EQ(object.size(), 3u);
    EXPECT_THAT(object.at("time").get<std::string>(), ::testing::EndsWith("Z"));
    ++objects;
  }
  EXPECT_GT(objects, 2u);
}

}  // namespace
}  // namespace rw
