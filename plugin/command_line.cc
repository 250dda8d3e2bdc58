#include "plugin/command_line.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <functional>
#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>

#include "metadata/quoted.h"
#include "metadata/time_text.h"
#include "plugin/archive_commands.h"
#include "plugin/check_command.h"
#include "plugin/client.h"
#include "plugin/command_line_completion.h"
#include "plugin/command_line_manual.h"
#include "plugin/commands.h"
#include "plugin/consistent_mark.h"
#include "plugin/forget_command.h"
#include "plugin/history_commands.h"
#include "plugin/log_command.h"
#include "plugin/mount_command.h"
#include "plugin/options.h"
#include "plugin/past_commands.h"
#include "plugin/release_command.h"
#include "plugin/restore_command.h"
#include "plugin/rollback_command.h"
#include "plugin/serve.h"
#include "plugin/settings.h"
#include "plugin/upgrade_command.h"
#include "plugin/watch_commands.h"

namespace rw {
namespace {

// What the command line says; each command reads what concerns it.
struct Arguments {
  ServeSettings settings;
  std::string socket;  // as given; empty if it is to be found
  std::string name;
  std::string directory;
  std::string at;
  std::vector<std::string> options;
  MarkRequest mark;
  std::vector<std::string> changes;
  CheckRequest check;
  LogRequest log;
  TimelineRequest timeline;
  ForgetRequest forget;
  RestoreCommandRequest restore;
  PastRequest past;
  ExportRequest exported;
  ImportRequest imported;
  TopRequest top;
  RollbackRequest rollback;
  ReleaseRequest release;
  std::string log_level;
  int exit_code = kExitDone;
  bool removed = false;
  bool dry_run = false;
  bool json = false;
};

// Options whose values come from the environment if they are not given.
void AddServe(CLI::App& app, Arguments& arguments) {
  CLI::App* serve = app.add_subcommand("serve", "Run the daemon in the foreground");
  for (const Setting& setting : kSettings) {
    serve->add_option(setting.flag, arguments.settings.*setting.value, setting.meaning)
        ->envname(setting.environment)
        ->type_name(setting.argument)
        ->capture_default_str();
  }
  serve->final_callback([&arguments] { Serve(arguments.settings); });
}

// A subcommand that asks the daemon: `run` gets the daemon's socket.
CLI::App* AddCommand(CLI::App& app, Arguments& arguments, const char* name, const char* meaning,
                     const std::function<void(const std::filesystem::path&)>& run) {
  CLI::App* command = app.add_subcommand(name, meaning);
  command->add_option("--socket", arguments.socket, "the daemon's socket (default: it is found)")
      ->envname("REWIND_SOCKET")
      ->type_name("PATH");
  command->final_callback([&arguments, run] { run(FindSocket(arguments.socket)); });
  return command;
}

void AddName(CLI::App* command, Arguments& arguments) {
  command->add_option("NAME", arguments.name, "the volume")->required();
}

void AddJson(CLI::App* command, Arguments& arguments) {
  command->add_flag("--json", arguments.json, "print JSON");
}

void AddVolumeCommands(CLI::App& app, Arguments& arguments) {
  CLI::App* create =
      AddCommand(app, arguments, "create", "Make a volume", [&arguments](const auto& socket) {
        CreateCommand(socket, arguments.name, arguments.options);
      });
  AddName(create, arguments);
  create
      ->add_option("-o,--opt", arguments.options,
                   "one of " + VolumeOptionList() + "; -o help explains them")
      ->type_name("KEY=VALUE")
      ->allow_extra_args(false);
  CLI::App* list =
      AddCommand(app, arguments, "ls", "List the volumes", [&arguments](const auto& socket) {
        arguments.removed ? ListRemovedCommand(socket, arguments.json)
                          : ListCommand(socket, arguments.json);
      });
  list->add_flag("--removed", arguments.removed,
                 "those that were removed and can still be a source of clones and snapshots");
  AddJson(list, arguments);
  CLI::App* inspect = AddCommand(
      app, arguments, "inspect", "Show what is known about a volume",
      [&arguments](const auto& socket) { InspectCommand(socket, arguments.name, arguments.json); });
  AddName(inspect, arguments);
  AddJson(inspect, arguments);
  CLI::App* now = AddCommand(
      app, arguments, "now", "Print the instant that separates what was done from what will be",
      [&arguments](const auto& socket) { NowCommand(socket, arguments.name, arguments.json); });
  AddName(now, arguments);
  AddJson(now, arguments);
  AddCommand(app, arguments, "metrics", "Print figures of all volumes in Prometheus' text format",
             [](const auto& socket) { MetricsCommand(socket); });
  AddName(AddCommand(app, arguments, "rm", "Remove a volume",
                     [&arguments](const auto& socket) { RemoveCommand(socket, arguments.name); }),
          arguments);
  AddName(AddCommand(app, arguments, "purge", "End the history of removed volumes of a name now",
                     [&arguments](const auto& socket) { PurgeCommand(socket, arguments.name); }),
          arguments);
}

void AddRetentionCommands(CLI::App& app, Arguments& arguments) {
  const std::string settings = "retention, keep, history-limit, trash";
  const auto add_changes = [&arguments](CLI::App* command, const std::string& meaning) {
    AddName(command, arguments);
    return command->add_option("KEY=VALUE", arguments.changes, meaning);
  };
  add_changes(AddCommand(app, arguments, "set", "Change settings of a volume",
                         [&arguments](const auto& socket) {
                           SetCommand(socket, arguments.name, arguments.changes);
                         }),
              "of " + settings + ", size, mark-every and mark-keep; KEY= means the default again")
      ->required();
  CLI::App* retention =
      AddCommand(app, arguments, "retention", "Show what is kept of a volume, and what would go",
                 [&arguments](const auto& socket) {
                   if (arguments.dry_run) {
                     DryRunCommand(socket, arguments.name, arguments.changes, arguments.json);
                   } else if (arguments.changes.empty()) {
                     RetentionCommand(socket, arguments.name, arguments.json);
                   } else {
                     throw CLI::ValidationError(
                         "rewind retention changes nothing: add --dry-run to see what would go, "
                         "or use rewind set");
                   }
                 });
  add_changes(retention, "with --dry-run: of " + settings + "; KEY= means the default again");
  retention->add_flag("--dry-run", arguments.dry_run,
                      "print what would go if the settings were changed so");
  AddJson(retention, arguments);
  CLI::App* pins = AddCommand(
      app, arguments, "pins", "List what keeps history of a volume: marks, snapshots, clones",
      [&arguments](const auto& socket) { PinsCommand(socket, arguments.name, arguments.json); });
  AddName(pins, arguments);
  AddJson(pins, arguments);
  AddJson(AddCommand(app, arguments, "collect", "Free now what is no longer kept of any volume",
                     [&arguments](const auto& socket) { CollectCommand(socket, arguments.json); }),
          arguments);
}

// For what concerns containers.
void AddEngine(CLI::App* command, std::string* engine_socket) {
  command
      ->add_option("--docker-socket", *engine_socket,
                   "the Docker engine's (default: DOCKER_HOST, or /var/run/docker.sock)")
      ->type_name("PATH");
}

void AddProject(CLI::App* command, std::string* project, std::string* engine_socket) {
  command->add_option("--project", *project, "the volumes of a Compose project")
      ->type_name("PROJECT");
  AddEngine(command, engine_socket);
}

void AddRollback(CLI::App& app, Arguments& arguments) {
  RollbackRequest& request = arguments.rollback;
  CLI::App* rollback =
      AddCommand(app, arguments, "rollback", "Put volumes back to what they were at one instant",
                 [&arguments](const auto& socket) {
                   RollbackRequest& asked = arguments.rollback;
                   if (asked.names.empty() && asked.project.empty())
                     throw CLI::ValidationError("rewind rollback takes volumes, or --project");
                   asked.json = arguments.json;
                   RollbackCommand(socket, asked);
                 });
  rollback->add_option("NAME...", request.names, "the volumes");
  rollback
      ->add_option("--at", request.at, "the instant: " + std::string(kTimeSyntax) + "; or a mark")
      ->required()
      ->type_name("TIME");
  AddProject(rollback, &request.project, &request.engine_socket);
  rollback->add_flag("--restart", request.restart,
                     "stop the containers that use them, and start them again afterwards");
  rollback
      ->add_option("--timeout", request.timeout,
                   "what each container gets to stop (default: its own time), and to become "
                   "healthy (default: 60s)")
      ->type_name("DURATION");
  rollback->add_flag("--dry-run", request.dry_run, "print what would be done, and do nothing");
  AddJson(rollback, arguments);
}

void AddMarkCommands(CLI::App& app, Arguments& arguments) {
  const std::string times = std::string(kTimeSyntax) + "; or a mark";
  CLI::App* mark = AddCommand(app, arguments, "mark", "Give an instant of volumes a name",
                              [&arguments](const auto& socket) {
                                MarkRequest& request = arguments.mark;
                                request.label = request.names.back();
                                request.names.pop_back();
                                const int groups = (request.all ? 1 : 0) +
                                                   (request.project.empty() ? 0 : 1) +
                                                   (request.names.empty() ? 0 : 1);
                                if (groups != 1) {
                                  throw CLI::ValidationError(
                                      "rewind mark takes the volumes and a LABEL, or --all or "
                                      "--project and a LABEL");
                                }
                                request.at = arguments.at;
                                RunMarkCommand(socket, request, arguments.json);
                              });
  mark->add_option("NAME... LABEL", arguments.mark.names, "the volumes, then the name")->required();
  mark->add_flag("--all", arguments.mark.all,
                 "all volumes, at one instant; then only LABEL follows");
  mark->add_option("--note", arguments.mark.note, "a line to remember it by")->type_name("TEXT");
  AddProject(mark, &arguments.mark.project, &arguments.mark.engine_socket);
  CLI::Option* consistent = mark->add_flag(
      "--consistent", arguments.mark.consistent,
      "while the containers that use the volumes are still: by the commands in their labels "
      "rewind.pre-mark and rewind.post-mark, or paused");
  mark->add_option("--timeout", arguments.mark.timeout,
                   "give up after so long (default: 30s), and release them")
      ->type_name("DURATION")
      ->needs(consistent);
  mark->add_option("--at", arguments.at, "the instant (default: now): " + times)->type_name("TIME");
  AddJson(mark, arguments);
  CLI::App* marks = AddCommand(
      app, arguments, "marks", "List the marks of a volume",
      [&arguments](const auto& socket) { MarksCommand(socket, arguments.name, arguments.json); });
  AddName(marks, arguments);
  AddJson(marks, arguments);
  CLI::App* unmark =
      AddCommand(app, arguments, "unmark", "Remove a mark", [&arguments](const auto& socket) {
        UnmarkCommand(socket, arguments.name, arguments.mark.label);
      });
  AddName(unmark, arguments);
  unmark->add_option("LABEL", arguments.mark.label, "the mark")->required();
}

void AddLogCommands(CLI::App& app, Arguments& arguments) {
  const std::string times = std::string(kTimeSyntax) + "; or a mark";
  const auto add_range = [&](CLI::App* command, std::string* since, std::string* until) {
    command->add_option("--since", *since, "from then on (default: all that is kept): " + times)
        ->type_name("TIME");
    command->add_option("--until", *until, "until then (default: now)")->type_name("TIME");
  };
  CLI::App* log = AddCommand(app, arguments, "log", "Show what happened to a volume",
                             [&arguments](const auto& socket) {
                               arguments.log.name = arguments.name;
                               LogCommand(socket, arguments.log, arguments.json);
                             });
  AddName(log, arguments);
  add_range(log, &arguments.log.since, &arguments.log.until);
  log->add_option("--path", arguments.log.path,
                  "only what was done to this path, such as /etc/passwd, or '*.log', and in it")
      ->type_name("GLOB");
  log->add_flag("--follow", arguments.log.follow, "go on with what happens from now on");
  AddEngine(log, &arguments.log.engine_socket);
  log->add_flag("--json", arguments.json, "print a JSON object per line");
  CLI::App* timeline =
      AddCommand(app, arguments, "timeline",
                 "Show how much happened to a volume when, and instants to go back to",
                 [&arguments](const auto& socket) {
                   arguments.timeline.name = arguments.name;
                   TimelineCommand(socket, arguments.timeline, arguments.json);
                 });
  AddName(timeline, arguments);
  add_range(timeline, &arguments.timeline.since, &arguments.timeline.until);
  timeline
      ->add_option("--buckets", arguments.timeline.buckets, "into how many parts the time is cut")
      ->type_name("N")
      ->capture_default_str();
  AddJson(timeline, arguments);
}

void AddCheck(CLI::App& app, Arguments& arguments) {
  CheckRequest& request = arguments.check;
  CLI::App* check = AddCommand(
      app, arguments, "check",
      "Look for damage in what is stored; exit status 0 sound, 1 hurt, 2 could not check",
      [&arguments](const auto& socket) {
        arguments.exit_code = CheckCommand(socket, arguments.check, arguments.json);
      });
  check->add_option("NAME", request.name, "the volume (default: all of them)");
  check
      ->add_option("--at", request.at,
                   "only what it showed then (default: now, and all that is kept of it): " +
                       std::string(kTimeSyntax) + "; or a mark")
      ->type_name("TIME");
  check->add_flag("--repair", request.repair,
                  "correct flipped bits, write damaged segment headers again, make a damaged index "
                  "again");
  request.rate = "64M";
  check->add_option("--rate", request.rate, "read at most so much per second; 0: no limit")
      ->type_name("BYTES")
      ->capture_default_str();
  check
      ->add_option("--root", request.root,
                   "a data root that no daemon has open, instead of asking one")
      ->type_name("DIR");
  AddJson(check, arguments);
}

void AddArchiveCommands(CLI::App& app, Arguments& arguments) {
  ExportRequest& exported = arguments.exported;
  CLI::App* take = AddCommand(app, arguments, "export",
                              "Write a tar archive of what a volume holds, or held at a time",
                              [&arguments](const auto& socket) {
                                ExportCommand(socket, arguments.exported, arguments.json);
                              });
  take->add_option("NAME", exported.name, "the volume")->required();
  take->add_option("--at", exported.at,
                   "the instant (default: now): " + std::string(kTimeSyntax) + "; or a mark")
      ->type_name("TIME");
  take->add_option("-o,--output", exported.file,
                   "the file, which is there only once it is whole (default: standard output)")
      ->type_name("FILE");
  AddJson(take, arguments);
  ImportRequest& imported = arguments.imported;
  CLI::App* bring = AddCommand(app, arguments, "import",
                               "Make a volume of a tar archive, compressed or not; all or nothing",
                               [&arguments](const auto& socket) {
                                 ImportCommand(socket, arguments.imported, arguments.json);
                               });
  bring->add_option("NAME", imported.name, "the new volume")->required();
  bring->add_option("FILE", imported.file, "the archive (default: standard input)");
  bring
      ->add_option("-o,--opt", imported.options,
                   "an option of the new volume, as rewind create takes it")
      ->type_name("KEY=VALUE")
      ->allow_extra_args(false);
  AddJson(bring, arguments);
}

void AddWatchCommands(CLI::App& app, Arguments& arguments) {
  AddJson(AddCommand(app, arguments, "health",
                     "Say whether all is well; exit status 0 yes, 1 no, 2 could not ask",
                     [&arguments](const auto& socket) {
                       arguments.exit_code = HealthCommand(socket, arguments.json);
                     }),
          arguments);
  CLI::App* top = AddCommand(
      app, arguments, "top", "Show what volumes do now: writes, syncs, how long they take",
      [&arguments](const auto& socket) { TopCommand(socket, arguments.top, arguments.json); });
  top->add_flag("--once", arguments.top.once,
                "once instead of again and again; so it is with --json or without a terminal");
  top->add_option("--interval", arguments.top.interval_seconds, "over so many seconds")
      ->type_name("SECONDS")
      ->capture_default_str();
  AddJson(top, arguments);
  CLI::App* level = AddCommand(app, arguments, "log-level",
                               "Change what the daemon logs, until it starts again; or show it",
                               [&arguments](const auto& socket) {
                                 LogLevelCommand(socket, arguments.log_level, arguments.json);
                               });
  level->add_option("LEVEL", arguments.log_level, "debug, info, warning or error");
  AddJson(level, arguments);
}

void AddMountCommands(CLI::App& app, Arguments& arguments) {
  CLI::App* mount =
      AddCommand(app, arguments, "mount", "Mount a volume on a directory of this machine",
                 [&arguments](const auto& socket) {
                   std::optional<std::string> at;
                   if (!arguments.at.empty()) at = arguments.at;
                   MountOn(socket, arguments.name, arguments.directory, at);
                 });
  AddName(mount, arguments);
  mount->add_option("DIR", arguments.directory, "an existing directory")->required();
  mount
      ->add_option(
          "--at", arguments.at,
          "show it read-only as it was at a time: " + std::string(kTimeSyntax) + ", or a mark")
      ->type_name("TIME");
  CLI::App* umount =
      AddCommand(app, arguments, "umount", "Undo rewind mount",
                 [&arguments](const auto& socket) { UmountFrom(socket, arguments.directory); });
  umount->add_option("DIR", arguments.directory, "where it is mounted")->required();
  CLI::App* release =
      AddCommand(app, arguments, "release",
                 "Unmount a volume that the Docker engine has mounted, and forgotten",
                 [&arguments](const auto& socket) {
                   arguments.release.json = arguments.json;
                   ReleaseCommand(socket, arguments.release);
                 });
  release->add_option("NAME", arguments.release.name, "the volume")->required();
  AddEngine(release, &arguments.release.engine_socket);
  AddJson(release, arguments);
}

void AddRestoreCommands(CLI::App& app, Arguments& arguments) {
  RestoreCommandRequest& request = arguments.restore;
  CLI::App* restore = AddCommand(app, arguments, "restore",
                                 "Put files and directories back as they were, while it is used",
                                 [&arguments](const auto& socket) {
                                   RestoreCommand(socket, arguments.restore, arguments.json);
                                 });
  restore->add_option("NAME", request.name, "the volume")->required();
  restore->add_option("PATH", request.paths, "from the volume's root, such as /data/orders.csv")
      ->required();
  restore->add_option("--at", request.at, "as of when: " + std::string(kTimeSyntax) + "; or a mark")
      ->required()
      ->type_name("TIME");
  restore->add_option("--to", request.to, "into this directory of the volume instead")
      ->type_name("DIR");
  restore->add_flag("--dry-run", request.dry_run, "only print what would change");
  AddJson(restore, arguments);
  CLI::App* undo = AddCommand(
      app, arguments, "undo", "Take back the last rollback or restore of a volume",
      [&arguments](const auto& socket) { UndoCommand(socket, arguments.restore, arguments.json); });
  undo->add_option("NAME", request.name, "the volume")->required();
  undo->add_flag("--redo", request.redo, "take back the last undo instead");
  undo->add_flag("--dry-run", request.dry_run, "only print what would change");
  AddJson(undo, arguments);
  CLI::App* schedule =
      AddCommand(app, arguments, "schedule", "Show which volumes get marks by themselves",
                 [&arguments](const auto& socket) {
                   ScheduleCommand(socket, arguments.name, arguments.json);
                 });
  schedule->add_option("NAME", arguments.name, "the volume (default: all that have a schedule)");
  AddJson(schedule, arguments);
}

void AddForget(CLI::App& app, Arguments& arguments) {
  ForgetRequest& request = arguments.forget;
  CLI::App* forget = AddCommand(app, arguments, "forget",
                                "Erase for good what a removed file held, from all of history",
                                [&arguments](const auto& socket) {
                                  ForgetCommand(socket, arguments.forget, arguments.json);
                                });
  forget->add_option("NAME", request.name, "the volume")->required();
  forget->add_option("PATH", request.path, "from the volume's root, such as /data/secret")
      ->required();
  forget->add_flag("--copies", request.copies, "also of other removed files that share its bytes");
  AddJson(forget, arguments);
}

void AddUpgrade(CLI::App& app, Arguments& arguments) {
  AddJson(
      AddCommand(app, arguments, "upgrade",
                 "Replace the running daemon by the program that is at its path now; mounts and "
                 "the programs that use them go on",
                 [&arguments](const auto& socket) { UpgradeCommand(socket, arguments.json); }),
      arguments);
}

// A command that looks for something in the past of a volume.
CLI::App* AddPastCommand(CLI::App& app, Arguments& arguments, const char* name, const char* meaning,
                         void (*run)(const std::filesystem::path&, const PastRequest&)) {
  CLI::App* command =
      AddCommand(app, arguments, name, meaning,
                 [&arguments, run](const auto& socket) { run(socket, arguments.past); });
  command->add_option("NAME", arguments.past.name, "the volume")->required();
  return command;
}

void AddPastCommands(CLI::App& app, Arguments& arguments) {
  PastRequest& request = arguments.past;
  const std::string times = std::string(kTimeSyntax) + "; or a mark";
  const auto add_path = [&request](CLI::App* command) {
    return command->add_option("PATH", request.path, "from the volume's root, such as /data/file");
  };
  const auto add_times = [&](CLI::App* command) {
    command->add_option("--since", request.since, "not before it: " + times)->type_name("TIME");
    command->add_option("--until", request.until, "not after it")->type_name("TIME");
  };
  const auto add_json = [&request](CLI::App* command) {
    command->add_flag("--json", request.json, "print JSON");
  };
  CLI::App* cat =
      AddPastCommand(app, arguments, "cat", "Print a file as it was at a time", CatCommand);
  add_path(cat)->required();
  cat->add_option("--at", request.at, "the time (default: now): " + times)->type_name("TIME");
  cat->add_option("-o,--output", request.output, "write to a file instead")->type_name("FILE");
  CLI::App* history = AddPastCommand(app, arguments, "history",
                                     "List the versions of a file or directory", HistoryCommand);
  add_path(history)->required();
  add_times(history);
  history->add_flag("--each", request.each, "a line for each write");
  history->add_option("--limit", request.limit, "so many lines; 0: all")->capture_default_str();
  add_json(history);
  CLI::App* grep = AddPastCommand(app, arguments, "grep-time",
                                  "Find when a text came into a file or left it", GrepTimeCommand);
  add_path(grep)->required();
  grep->add_option("--contains", request.text, "the text")->required()->type_name("TEXT");
  add_times(grep);
  add_json(grep);
}

void AddComparingCommands(CLI::App& app, Arguments& arguments) {
  PastRequest& request = arguments.past;
  const std::string times = std::string(kTimeSyntax) + "; or a mark";
  CLI::App* find =
      AddPastCommand(app, arguments, "find", "List what was removed and can be read", FindCommand);
  find->add_flag("--deleted", request.deleted, "paths that are no more")->required();
  find->add_option("--since", request.since, "not what was removed before it: " + times)
      ->type_name("TIME");
  find->add_option("--limit", request.limit, "so many lines; 0: all")->capture_default_str();
  find->add_flag("--json", request.json, "print JSON");
  CLI::App* diff =
      AddPastCommand(app, arguments, "diff",
                     "List what differs between two times, or a time and now", DiffCommand);
  diff->add_option(
          "T1 [T2] [/PATH]", request.times,
          "times: " + times + "; and the part of the volume to look at, which begins with a slash")
      ->required()
      ->expected(1, 3);
  diff->add_flag("-p,--patch", request.patch, "print what differs in text files");
  diff->add_flag("--json", request.json, "print JSON");
}

// What was wrong with the command line, in one line.
std::string DescribeUsage(const CLI::App& app, int argc, char** argv,
                          const CLI::ParseError& error) {
  std::string first = argc > 1 ? argv[1] : "";
  std::string why = error.what();
  if (first.empty()) why = "a command is required";
  if (!first.empty() && first[0] != '-' && app.get_subcommands().empty()) {
    why = "no such command: " + Quoted(first);
  }
  return why + "; rewind --help tells more";
}

std::string OneLine(std::string text) {
  std::replace(text.begin(), text.end(), '\n', ' ');
  return text;
}

}  // namespace

int RunCommandLine(int argc, char** argv) {
  Arguments arguments;
  CLI::App app("rewind: Docker volumes that remember every write", "rewind");
  app.set_version_flag("--version", std::string("rewind ") + REWIND_VERSION);
  app.require_subcommand(1);
  app.footer("Exit status: 0 done; 1 refused or failed, with one line on standard error; 2 usage.");
  AddServe(app, arguments);
  AddVolumeCommands(app, arguments);
  AddRetentionCommands(app, arguments);
  AddMarkCommands(app, arguments);
  AddRollback(app, arguments);
  AddMountCommands(app, arguments);
  AddLogCommands(app, arguments);
  AddPastCommands(app, arguments);
  AddComparingCommands(app, arguments);
  AddCheck(app, arguments);
  AddForget(app, arguments);
  AddRestoreCommands(app, arguments);
  AddUpgrade(app, arguments);
  AddArchiveCommands(app, arguments);
  AddWatchCommands(app, arguments);
  app.add_subcommand("version", "Print the version")->final_callback([] {
    std::cout << "rewind " << REWIND_VERSION << std::endl;
  });
  AddCompletionScripts(app);
  AddManual(app);
  if (argc > 1 && std::string_view(argv[1]) == "complete")
    return RunComplete(app, {argv + 2, argv + argc});
  try {
    app.parse(argc, argv);
    return arguments.exit_code;
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // --help, --version
    std::cerr << "rewind: " << OneLine(DescribeUsage(app, argc, argv, error)) << std::endl;
    return kExitUsage;
  } catch (const std::exception& error) {
    std::cerr << "rewind: " << OneLine(error.what()) << std::endl;
    return kExitRefused;
  }
}

}  // namespace rw
