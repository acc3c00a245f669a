// The half of a dataplane that enforces policy: nftables or eBPF; or nothing, where somebody has asked for
// that. The other half is routes (routes/).
//
//   errors   what is in force stays; what the kernel holds then counts as unknown until resync() has
//   succeeded
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "dataplane/hosts/host_interfaces.h"
#include "dataplane/overlay/open_tunnels.h"
#include "engine/host_state.h"

namespace ocicat::dataplane {

class PolicyDatapath {
 public:
  virtual ~PolicyDatapath() = default;

  // Takes the changes over, whatever happens, and writes them where the kernel's state is known. Else nothing
  // is written: call resync().
  virtual Result<void> apply(const HostChanges& changes) = 0;

  // What interfaces host endpoints have from here on. Written with the changes of the next apply(), in one
  // step with them: one that goes leaves its interface to the next, which is never without either.
  virtual Result<void> assign(const HostInterfaces& interfaces) = 0;

  // Reads the kernel and writes what differs. Whether anything had to be written.
  virtual Result<bool> resync() = 0;

  // Whether there is any policy at all.
  virtual bool enforces() const { return true; }
  // Whether the kernel holds what is desired, as far as is known.
  virtual bool in_step() const = 0;
  // Somebody else may have changed what this half has written.
  virtual void distrust() = 0;
  // Which interfaces there are: some may have come, gone or been renamed, and so may what is attached to them.
  virtual void learn_links(const Links& /*links*/) {}
  // Routes here have changed, or may have: ways that were remembered are to be asked for anew.
  virtual void reroute() {}
  // Tunnels to other hosts between addresses of that family, into which it may put its packets without the
  // interface. Told of an end once the kernel knows it and before routes lead there; and that it goes before these
  // leave. Takes the changes over, whatever happens; after an error it is called again.
  virtual Result<void> take_tunnels(Family, const TunnelChanges&) { return {}; }
  // The kernel translates what leaves pools as is desired. Told after its table says so; `changed`: only now.
  virtual Result<void> take_translation(bool /*changed*/) { return {}; }
  // Whether packets at this interface are judged: where not, they are dropped.
  virtual bool serves(const std::string& interface_name) const = 0;
  // What is in force, in step, where open connections have to be judged by it from outside; nullptr: the
  // datapath judges them by itself.
  virtual const policy::Tables* tables_for_connections() const { return nullptr; }
  // What it is kept from doing, and why.
  virtual std::vector<std::string> notes() const { return {}; }
  // What was written so far.
  virtual std::uint64_t writes() const = 0;
};

}  // namespace ocicat::dataplane
