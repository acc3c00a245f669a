/* For a user-mode Linux where the processor has more registers (AMX) than its kernel has room for. The host's kernel takes a
 * process' extended registers whole or refuses them, and Debian 12's user-mode Linux writes back as many as it has read: its
 * first process dies. Loaded into it, this puts what it writes over all that there are.
 *
 *   source   ptrace(2), PTRACE_SETREGSET of NT_X86_XSTATE; kernel arch/x86/kernel/fpu/regset.c, xstateregs_set
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <elf.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>

long ptrace(enum __ptrace_request request, ...) {
  static char
      whole[1 << 16]; /* not on the stack, of which such a kernel has little; one thread of it traces */
  static long (*next)(enum __ptrace_request, ...);
  va_list arguments;
  va_start(arguments, request);
  int process = va_arg(arguments, int);
  void* address = va_arg(arguments, void*);
  void* data = va_arg(arguments, void*);
  va_end(arguments);
  if (!next) next = (long (*)(enum __ptrace_request, ...))dlsym(RTLD_NEXT, "ptrace");
  if (request != PTRACE_SETREGSET || address != (void*)NT_X86_XSTATE)
    return next(request, process, address, data);
  const struct iovec* written = data;
  struct iovec all = {whole, sizeof whole};
  long failed = next(PTRACE_GETREGSET, process, address, &all);
  if (failed) return failed;
  if (written->iov_len < all.iov_len) memcpy(whole, written->iov_base, written->iov_len);
  return next(request, process, address, written->iov_len < all.iov_len ? &all : data);
}
