/**
 * Answer: the answer of an upstream, whichever engine brings it.
 *
 * Less than a stream: one reader, set once, that is told of each part in the turn it came in, and of one end, whole or
 * cut. An answer that was cut is never told as whole.
 *
 * Pure: an interface.
 */

/** Who reads the body of an answer. After `ended` or `cut` nothing more is told. */
export interface AnswerReader {
  data(part: Buffer): void;
  /** All of it has come; `rawTrailers` of the answer are known. */
  ended(): void;
  /**
   * The connection broke before all of it had come.
   *
   * @param by  `request`: it was ended, since the rest of the request cannot be sent; nothing against the upstream
   */
  cut(by: "upstream" | "request"): void;
}

/** An answer whose head has come. */
export interface UpstreamAnswer {
  readonly status: number;
  /** The reason phrase, as given. */
  readonly message: string;
  /** Alternating names and values, as given. */
  readonly rawHeaders: readonly string[];
  /** As `rawHeaders`; complete once the body has ended. */
  readonly rawTrailers: readonly string[];
  readonly isPaused: boolean;
  /** Sets the reader: in the turn in which the answer was told, once. */
  read(reader: AnswerReader): void;
  /** Asks for no more for now; what has come already may still be told. */
  pause(): void;
  resume(): void;
}
