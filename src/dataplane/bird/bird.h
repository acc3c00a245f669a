// BIRD under our care: configured, kept running, asked how it is.
//
//   adopts    one that runs is taken over as it is; when we go, it stays, and so do its routes
//   restart   one that died is started again; what it left in the kernel, and what its neighbours have of it,
//             stays until they have spoken with its successor (graceful restart, RFC 4724); for those that do
//             not say when they have, copies of its routes stay seconds longer
//   changes   sessions whose own settings are as before stay up, and so does every route that passes its filters
//             as before
//   errors    a configuration that BIRD refuses is not used: the last one stays in force
//   design    docs/design/bgp.md
#pragma once

#include <sys/types.h>

#include <chrono>
#include <filesystem>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/result.h"
#include "dataplane/bird/control.h"
#include "dataplane/bird/reloads.h"
#include "dataplane/bird/states.h"
#include "kernel/routes.h"

namespace ocicat::dataplane {

struct BirdStatus {
  pid_t pid = 0;
  bool recovering = false;  // holds back what it learns until its neighbours have spoken
  std::vector<SessionState> sessions;

  bool operator==(const BirdStatus&) const = default;
};

class Bird {
 public:
  struct Options {
    std::filesystem::path folder;  // of its files; made where it is missing, readable by root alone
    std::string program;           // empty: `bird` in PATH or /usr/sbin
  };

  // kNotFound, with the next step, where there is no such program. Does not start it.
  static Result<Bird> find(Options options);

  // What the log directive of a configuration is to name.
  std::filesystem::path log_file() const { return options_.folder / "bird.log"; }

  // Checks it, puts it in the place of the file as a whole, and has BIRD read it and pass again the routes
  // whose filters are others than before; starts BIRD where none runs. Where BIRD is still busy, what is to pass
  // again waits for look().
  Result<void> apply(const std::string& configuration);
  // How it is. One that has died is started again first, with the last configuration.
  Result<BirdStatus> look();
  // How often a BIRD was started by us.
  std::uint64_t starts() const { return starts_; }

  // Ends one that runs with files in this folder and takes its routes out of the kernel, of this network
  // namespace; whether there was one. The next is nobody's successor.
  static Result<bool> remove(const std::filesystem::path& folder);

 private:
  explicit Bird(Options options) : options_(std::move(options)) {}
  std::filesystem::path configuration_file() const { return options_.folder / "bird.conf"; }
  std::filesystem::path socket() const { return options_.folder / "bird.ctl"; }
  // Is there as long as the BIRD that runs, or has died, has read the file and passed every route by it.
  std::filesystem::path in_force() const { return options_.folder / "bird.conf.in-force"; }
  Result<std::string> ask(std::string_view command);
  Result<std::string> greet();  // what it says of itself; kNotFound: none runs
  Result<void> start();
  Result<void> replace_configuration(const std::string& configuration);
  Result<void> pass_again();
  Result<void> reload(const Reload& reload);
  bool succeeds() const;  // one that ran here before, and may have left routes anywhere
  Result<void> hear_of_routes();
  Result<void> drop_what_is_left();
  Result<void> drop_copies();
  Result<std::set<Way>> ask_ways();  // by which BIRD would have packets go

  Options options_;
  std::optional<BirdControl> control_;
  bool configured_ = false;
  std::optional<std::string> read_;  // what the one that runs has read last; nothing: not known
  std::set<Reload> due_;             // what it is to pass again since
  bool ran_ = false;                 // one has run with these files
  // The kernel may have routes of one before that the one that runs does not have, and an agent before may have
  // started that one.
  bool inherits_ = true;
  std::optional<kernel::RouteMonitor> monitor_;  // of the namespace of the first look
  bool changed_ = true;  // BIRD has changed routes of the kernel since these were compared
  // The kernel may have copies of what a dead one has left there, also by an agent before.
  bool copied_ = true;
  BirdStatus last_;                                                                   // as last seen,
  std::chrono::steady_clock::time_point same_since_{};                                // and since when
  std::chrono::steady_clock::time_point started_ = std::chrono::steady_clock::now();  // or taken over
  std::uint64_t starts_ = 0;
};

}  // namespace ocicat::dataplane
