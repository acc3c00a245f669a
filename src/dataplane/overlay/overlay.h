// The interfaces of one kind of tunnel (vxlan.h, ipip.h), held to what is desired around the routes.
#pragma once

#include <cstdint>

#include "base/result.h"

namespace ocicat::dataplane {

class Overlay {
 public:
  virtual ~Overlay() = default;

  // Makes what is wanted, before the routes that lead through it. What failed is tried again the next time.
  virtual Result<void> sync() = 0;
  // Takes away what nobody wants any more, once no route leads through it: with an interface the kernel drops
  // its routes, and what goes to an end that it does not know is lost.
  virtual Result<void> retire() = 0;
  // What was written so far; and how much of that to an interface itself, its own addresses included, which
  // others must learn of.
  std::uint64_t writes() const { return link_writes_ + end_writes_; }
  std::uint64_t link_writes() const { return link_writes_; }

 protected:
  Result<void> write_link(Result<void> done) {
    if (done) ++link_writes_;
    return done;
  }
  Result<void> write_end(Result<void> done) {
    if (done) ++end_writes_;
    return done;
  }

  std::uint64_t link_writes_ = 0, end_writes_ = 0;
};

}  // namespace ocicat::dataplane
