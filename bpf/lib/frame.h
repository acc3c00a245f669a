/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* A packet as programs get it, by where they stand: at a tcx hook; at a netfilter hook, where it begins with
 * its IP header (OCICAT_AT_NETFILTER), or before the kernel tracks it, likewise (OCICAT_BEFORE_TRACKING); or in
 * a driver (OCICAT_AT_DRIVER). And by who asks them: at netfilter hooks the kernel, or rules of nftables, which ask
 * none but programs of type socket filter (OCICAT_ASKED_BY_RULES). A file of programs says so before it includes
 * anything.
 *
 *   context   that of all but netfilter programs is, at run time, the kernel's own struct of the packet: what the
 *             verifier shows nothing of can be read there by address
 */
#pragma once

#include "lib/helpers.h"

#define LAST_HEADER 0x7fff /* no honest packet has headers beyond; and the verifier wants a bound */

/* How many packets a large one is cut into (GSO), or has been put together from (GRO). Nobody has counted those of a
 * virtual machine. */
static __always_inline __u32 segments_by(__u32 size, __u32 counted, __u32 length, __u32 headers) {
  if (counted) return counted;
  return length > headers + size ? (length - headers + size - 1) / size : 1;
}

#if defined OCICAT_AT_NETFILTER && !defined OCICAT_ASKED_BY_RULES

#include "lib/kernel_types.h"

#define FRAME struct bpf_nf_ctx

extern int bpf_dynptr_from_skb(struct __sk_buff* skb, __u64 flags, struct bpf_dynptr* to) __ksym __weak;

static __always_inline __u32 length_of(FRAME* frame) {
  return frame->skb->len;
}
static __always_inline __u32 segments_of(FRAME* frame, __u32 headers) {
  const struct skb_shared_info* shared = (void*)frame->skb->head + frame->skb->end;
  __u32 size = BPF_CORE_READ(shared, gso_size);
  return size ? segments_by(size, BPF_CORE_READ(shared, gso_segs), frame->skb->len, headers) : 1;
}
/* Than a header's field can say. */
static __always_inline int may_be_longer(FRAME* frame) {
  return frame->skb->len > 0xffff;
}
/* Copies; false where the packet is shorter. The size is a constant. Not inline, as nothing else may have the
 * place of a dynptr on the stack. */
static __noinline int load(FRAME* frame, __u32 offset, void* to, __u32 size) {
  struct bpf_dynptr bytes;
  if (offset > LAST_HEADER || bpf_dynptr_from_skb((struct __sk_buff*)frame->skb, 0, &bytes)) return 0;
  return bpf_dynptr_read(to, size, &bytes, offset, 0) == 0;
}

#elif defined OCICAT_AT_DRIVER

#include "lib/kernel_types.h"

#define FRAME struct xdp_md

static __always_inline __u32 length_of(FRAME* frame) {
  return bpf_xdp_get_buff_len(frame);
}
static __always_inline int may_be_longer(FRAME* frame) {
  return 0;
}
#define load_bytes bpf_xdp_load_bytes

#else

#define FRAME struct __sk_buff

static __always_inline __u32 length_of(FRAME* frame) {
  return frame->len;
}
static __always_inline __u32 segments_of(FRAME* frame, __u32 headers) {
  return frame->gso_size ? segments_by(frame->gso_size, frame->gso_segs, frame->len, headers) : 1;
}
static __always_inline int may_be_longer(FRAME* frame) {
  return frame->gso_segs != 0;
}

#ifdef OCICAT_ASKED_BY_RULES

#include "lib/kernel_types.h"

/* Copies; false where the packet is shorter. Such programs see nothing of it by themselves. */
static __always_inline int load(FRAME* frame, __u32 offset, void* to, __u32 size) {
  return offset <= LAST_HEADER && bpf_skb_load_bytes(frame, offset, to, size) == 0;
}

#else

#define load_bytes bpf_skb_load_bytes

#endif

#endif

#ifdef load_bytes

/* Copies to where words may stand; false where the frame is shorter. What is not in its first piece costs a call. */
static __always_inline int load(FRAME* frame, __u32 offset, void* to, __u32 size) {
  if (offset > LAST_HEADER) return 0;
  __u64 bounded = offset;
  asm volatile("%0 &= 0x7fff"
               : "+r"(bounded)); /* so that the verifier sees the bound wherever the number was kept */
  void* from = (void*)(long)frame->data + bounded;
  if (from + size <= (void*)(long)frame->data_end) {
    copy_words(to, from, size);
    return 1;
  }
  return load_bytes(frame, offset, to, size) == 0;
}

#endif
